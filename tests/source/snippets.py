"""Python put together at random from statements that walk, register and restore state, for laws that hold of any."""

from __future__ import annotations

import textwrap

from hypothesis import strategies as st

_SIMPLE = (
    "pass",
    "return",
    "return {n: p.cpu() for n, p in model.named_parameters() if p.requires_grad}",
    "yield from (p for p in self.parameters())",
    "params = dict(model.named_parameters())",
    "params[name].data.copy_(state_dict[name])",
    "state = {**state, **dict(model.named_buffers())}",
    "own = own | {k: v for k, v in zip(own, model.parameters(), strict=True)}",
    "missing = set(n for n, _ in model.named_parameters()) - set(state_dict)",
    "p.data = p.data.to('cpu', non_blocking=True)",
    "p.data[:] += other[name][0]",
    "p *= decay",
    "setattr(p, '_is_hf_initialized', True)",
    "setattr(self, f'{name}_inv', nn.Buffer(x, persistent=False))",
    "self.register_buffer('table', torch.zeros(3), persistent=flag)",
    "self.a = self.b = B(x)",
    "self.t: Tensor = 2 * torch.randn(3)",
    "self.t, y = t, x * self.t[:, None]",
    "self._buffers[key], self.c = x, nn.Buffer(y) if flag else None",
    "model.load_state_dict(torch.load(path), strict=False)",
    "dist.broadcast(p, src=0, group=g)",
    "out.append((name, p.detach().clone()))",
    "a, (b, *c) = model.parameters(), list(model.buffers())",
    "(q := next(model.parameters())).mul_(2)",
    "f = lambda p, *a, **k: p.copy_(a[0])",
    "polyak(*[m.parameters() for m in models], **dict(tau=1))",
    "x: dict = {}",
    "x[name] = p if p is not None else copy.deepcopy(p)",
    "del params[name]",
    "init.zeros_(module.running_mean)",
    "assert all(p.is_meta for p in model.parameters()), f'{model.state_dict()!r}'",
    's = """\nclass A:\n    def parameters(self): pass\n"""',
    "x = 1 + \\\n2",
    "head = head.to_empty(device=d, recurse=False)",
    "module._buffers[name] = torch.empty_like(p, device=d)",
    "allocator.sleep(offload_tags=('weights',) if flag else ())",
    "materialize_layer(model)",
    "buffer.data.copy_(getattr(layer, name))",
    "# def parameters(): '''",
)  # fmt: skip
_HEADERS = (
    "if dist.get_rank() == 0:",
    "if not isinstance(module, nn.A | nn.B) and name in state_dict:",
    "while (p := next(it)) is not None:",
    "for name, p in model.named_parameters(recurse=False):",
    "for i, ((n, p), q) in enumerate(zip(model.named_parameters(), other.parameters())):",
    "for _ in [p for ps in groups for p in ps if p.requires_grad]:",
    "with torch.no_grad(), GatheredParameters(list(model.parameters())) as (g, *h):",
    "def inner(p, /, *rest, key=None, **more):",
    "def _init_weights(self, module):",
    "def register(self, name):",
    "def __init__(self, t: Tensor, *more):",
    "def forward(self, x, /, y=None, *rest, k=0, **more):",
    "class Inner(nn.Module, metaclass=Meta):",
    "class Plain:",
    "with init_empty_weights(include_buffers=True):",
    "for name, buffer in buffers.items():",
    "for n, p in module._buffers.items():",
    "try:",
    "match model:",
    "async def later(model):",
)


def _nested(header: str, body: list[str]) -> str:
    block = textwrap.indent("\n".join(body), "    ")
    if header == "try:":
        return f"try:\n{block}\nexcept (KeyError, E) as e:\n{block}\nelse:\n    pass\nfinally:\n    pass"
    if header.startswith("match"):
        deeper = textwrap.indent(block, "    ")
        return f"{header}\n    case Net(layers=[first, *_]) if first:\n{deeper}\n    case _:\n        pass"
    if header.startswith("if"):
        return f"{header}\n{block}\nelse:\n{block}"
    return f"{header}\n{block}"


def _compound(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        _nested, st.sampled_from(_HEADERS), st.lists(children, min_size=1, max_size=4).map(_never_only_a_comment)
    )


def _never_only_a_comment(body: list[str]) -> list[str]:
    return [*body, "pass"]


#: Makes any file long enough for the gate; a short one is always parsed as it is.
PADDING = "#" * 5000 + "\n"
_HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import Buffer as B\n"
#: Whole files; some do not compile, as `return` outside a function does not, but all of them parse.
programs = st.lists(st.recursive(st.sampled_from(_SIMPLE), _compound, max_leaves=12), min_size=1, max_size=6).map(
    lambda statements: _HEAD + "\n".join(statements) + "\n" + PADDING
)
