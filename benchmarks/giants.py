"""Python that has very much of one thing where bufaudit reads it, or doubles with each line what is to be done.

Nothing here may take time that grows with the square of its length, let alone faster.
"""

from __future__ import annotations

MODULE = "import torch\nfrom torch import nn\n\nclass A(nn.Module):\n"
METHOD = f"{MODULE}    def load(self, model, state_dict, name, x, p):\n"
LOOP = f"{METHOD}        for p in model.parameters():\n"
INIT = f"{MODULE}    def __init__(self, name, x):\n"
LATE = f"{MODULE}    def build(self, name, x):\n"
INITIALISER = f"{MODULE}    def _init_weights(self, module):\n"
FORWARD = "    def forward(self, x):\n"
BUFFER = f"{INIT}        self.register_buffer('inv_freq', 1.0 / 10000 ** x.float(), persistent=False)\n"
TENSOR = f"{INIT}        self.inv_freq = torch.arange(10)\n"
NONE = f"{INIT}        self.register_buffer('x', None)\n"
USES = "\n    def forward(self, x): return "
SAVE = "torch.save(dict(self.named_parameters()), x)"


def giants(share: float = 1.0) -> dict[str, str]:
    """Giants by what they have much of; a smaller `share` has that much less of it."""

    def much(count: int) -> int:
        return max(int(count * share), 1)

    return {
        "plain statements": lines(METHOD, "x = 1", much(100_000)),
        "loads": lines(METHOD, "model@.load_state_dict(torch.load(x@))", much(20_000)),
        "writes": lines(LOOP, "p.data.copy_(state_dict[name])", much(20_000)),
        "walks": lines(METHOD, "for n, p in self.named_parameters(): state_dict[n] = p", much(20_000)),
        "growing lists": lines(METHOD, "x = x + list(self.parameters())", much(20_000)),
        "branches": lines(METHOD, "if x: y@ = model", much(20_000)),
        "comprehensions": lines(METHOD, "x@ = [p for p in state_dict if p]", much(20_000)),
        "early exits": lines(LOOP, "if p.requires_grad: continue", much(20_000)),
        "letters beyond ASCII": lines(METHOD, "é.load_state_dict(x)", much(20_000)),
        "registrations": lines(INIT, "self.register_buffer('x@', x)", much(20_000)),
        "registrations by name": lines(LATE, "self.register_buffer(name, x)", much(5_000)),
        "registrations in loops": lines(
            LATE + "        for name in (" + "'x', " * much(2_000) + "):\n",
            "self.register_buffer(name, x)",
            much(2_000),
        ),
        "registrations below early exits": lines(
            INIT, "if x: return", much(10_000), "self.register_buffer('x', x); " * 10
        ),
        "locals": lines(INIT, "x@ = x", much(20_000), "self.register_buffer('x', x1)"),
        "literals": lines(INIT, "x@ = 'x'", much(20_000), "self.register_buffer(x1, x1)"),
        "methods that register": "".join(
            (MODULE, *(f"    def f{i}(self, name): self.register_buffer(name, name)\n" for i in range(much(2_000))))
        ),
        "methods that walk": "".join(
            (MODULE, *(f"    def ema{i}(self): x = [p for p in self.parameters()]\n" for i in range(much(2_000))))
        ),
        "writes of an initialiser": lines(INITIALISER, "module.x@.zero_()", much(20_000)),
        "marks of an initialiser": lines(INITIALISER, "module.x@.y = True", much(10_000)),
        "classes that an initialiser asks for": lines(
            f"{INITIALISER}        if isinstance(module, ({', '.join(f'B{i}' for i in range(much(2_000)))})):\n",
            "module.x@.zero_()",
            much(2_000),
        ),
        "questions in questions of an initialiser": (
            INITIALISER
            + "".join(f"{'    ' * (depth + 2)}if isinstance(module, (B{depth}, C)):\n" for depth in range(20))
            + "    " * 22
            + "module.x.zero_()\n"
        ),
        "tables": lines(INIT, "self.register_buffer('x@', x.cos() ** 2, persistent=False)", much(5_000)),
        "names of buffers": lines(INIT, "self.register_buffer('x@(.*', x.cos() ** 2, False)", 20),
        "casts": lines(METHOD, "model@.half(); x@ = A().to(torch.bfloat16)", much(10_000)),
        "dropped modules": lines(METHOD, "model.to_empty(device=x); model.load_state_dict(x)", much(5_000)),
        "modules that sleep": lines(METHOD, "self.engine.sleep(); self.engine.wake_up(); model@.f(x)", much(5_000)),
        "plain tensors": lines(INIT, "self.x@ = torch.zeros(x)", much(10_000), f"pass{USES}self.x1 + self.x2"),
        "uses of tensors": lines(f"{TENSOR}{FORWARD}", "x = x + self.inv_freq", much(20_000)),
        "uses of buffers": lines(f"{BUFFER}{FORWARD}", "x = self.inv_freq.to(x.dtype).float()", much(4_000)),
        "methods that use buffers": BUFFER
        + "".join(f"    def f{i}(self): return self.f{i + 1}(self.inv_freq.dtype)\n" for i in range(much(2_000))),
        "fills": lines(f"{NONE}    def fill(self, x):\n", "self.x = torch.zeros(x)", much(20_000)),
        "handovers": lines(INITIALISER, "self.f@(module); module.g@()", much(10_000)),
        "methods that an initialiser calls": f"{INITIALISER}        self.f0(module)\n"
        + "".join(f"    def f{i}(self, m): self.f{i + 1}(m); self.f{i + 1}(m)\n" for i in range(much(2_000))),
        "calls of functions": "".join(
            f"def f{i}(model): return f{i + 1}(model.parameters())\n" for i in range(much(5_000))
        ),
        "comments": lines(METHOD, "x = 1  # bufaudit: ignore[BUF101]", much(10_000)),
        "comments with mistakes": lines(METHOD, "x = 1  # bufaudit: ignore[BUFF@]", much(5_000)),
        "comments on a line": f"{METHOD}        x = 1  {'# bufaudit: ignore[BUF101] ' * much(1_000)}\n",
        "doubled tuples": lines(LOOP, "x = (p, p); x = (x, x); state_dict[name] = x", 60),
        "doubled zips": lines(METHOD, "p = zip(p, p, self.parameters())", 60),
        "doubled lists": lines(LOOP, "x = [x, p]; x = [x, x]; state_dict[name] = x", 60),
        "wide tuples": f"{LOOP}            x = ({'p, ' * 3000})\n            x = ({'x, ' * 3000}); model.load(x)\n",
        "chain of walks": f"{LOOP}            p{'.state_dict(x)' * 80}\n",
        "chain of readers": f"{METHOD}        x = torch.load(x){'.get_tensor(x)' * 80}\n",
        "chain of writes": f"{LOOP}            p{'.copy_(p)' * 80}\n",
        "brackets": "x = " + "(" * 10_000 + ")" * 10_000,
        "brackets that Python takes": f"{METHOD}        model.load_state_dict({'[' * 190}{']' * 190})\n",
        "list": f"{METHOD}        x = [{'model.parameters(), ' * much(50_000)}]\n",
        "table": f"{INIT}        self.register_buffer('x', torch.tensor([{'1.0, ' * much(50_000)}]))\n",
        "arguments": f"{METHOD}        model.load_state_dict({'x, ' * much(50_000)})\n",
        "targets": f"{METHOD}        {' = '.join(f'x{i}' for i in range(much(50_000)))} = model.parameters()\n",
        "one line": f"import torch\n{'x = 1; ' * much(20_000)}\ndef f(model): return model.parameters()\n",
        "one line beyond ASCII": f"{METHOD}        {'é.load_state_dict(x); ' * much(20_000)}\n",
        "modules that import all of themselves": "from .modular_m0 import *\n" * 50 + "class B(A): pass\n",
        "classes": MODULE + "".join(f"class A{i}(A):\n    def f(self): self.x = 1\n" for i in range(much(5_000))),
        "parts": lines(INIT, "self.x@ = Part@(); self.y@ = y@", much(20_000), SAVE),
        "long capitals": lines(INIT, f"self.x = {'A_' * much(50_000)}", 1, SAVE),
        "long names": f"{METHOD}        {'_a' * much(50_000)}.x = torch.load(x)\n",
        "long function names": f"{METHOD}        {'lerp_' * much(20_000)}()(self.parameters())\n",
        "quotes": '"' * much(500_000),
        "escaped quotes": '"' * 3 + ("\\" + '"' * 3) * much(50_000),
        "backslashes": "x = 1\n" + "\\\n" * much(50_000) + "x\n",
        "f-strings": 'f"{' * 660,
        "form feeds": "\f \f#\n" * much(50_000),
        "spaces": "#" + " " * much(500_000) + "bufaudit\n" + ("#" + " " * 100) * much(5_000) + "\n",
        "bases": f"class A({'a, ' * much(50_000)}):\n    def f(self): self.parameters()\n",
    }  # fmt: skip


def lines(head: str, line: str, count: int, last: str = "pass") -> str:
    """A block under the last line of `head`: so many lines, `@` in which is their number, and a last one."""
    above = head.splitlines()[-1]
    indent = " " * (len(above) - len(above.lstrip()) + 4)
    body = "".join(f"{indent}{line}\n".replace("@", str(number)) for number in range(count))
    return f"{head}{body}{indent}{last}\n"
