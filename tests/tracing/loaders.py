"""A small model and loaders of many shapes, some right and some wrong, as probed by `module:function`."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as funcol
from torch import nn


class Block(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("table", torch.arange(width), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(x)) + self.table


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight


def whole(model, state_dict):
    model.load_state_dict(state_dict)


def assigned(model, state_dict):
    model.load_state_dict(state_dict, assign=True)


def parameters_only(model, state_dict):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state_dict[name])


def data_of_parameters_only(model, state_dict):
    for name, parameter in model.named_parameters():
        parameter.data = state_dict[name].clone()


def on_one_rank(model, state_dict):
    if dist.get_rank() == 0:
        model.load_state_dict(state_dict)


def buffers_on_one_rank(model, state_dict):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state_dict[name])
        if dist.get_rank() == 0:
            for name, buffer in model.named_buffers():
                if name in state_dict:
                    buffer.copy_(state_dict[name])


def broadcast_from_one_rank(model, state_dict):
    if dist.get_rank() == 0:
        model.load_state_dict(state_dict)
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, src=0)


def broadcast_as_objects(model, state_dict):
    sent = [state_dict if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(sent, src=0)
    model.load_state_dict(sent[0])


def parameters_broadcast(model, state_dict):
    if dist.get_rank() == 0:
        model.load_state_dict(state_dict)
    for parameter in model.parameters():
        dist.broadcast(parameter.data, src=0)


def in_chunks(model, state_dict):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            flat, source = tensor.view(-1), state_dict[name].view(-1)
            for start in range(0, flat.numel(), 3):
                flat[start : start + 3].copy_(source[start : start + 3])


def first_half_only(model, state_dict):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dim():
                half = tensor.shape[0] // 2
                tensor[:half].copy_(state_dict[name][:half])
            else:
                tensor.copy_(state_dict[name])


def sharded_reads(model, state_dict):
    """Each rank reads its own rows, and all of them are gathered."""
    rank, size = dist.get_rank(), dist.get_world_size()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dim() == 0:
                tensor.copy_(state_dict[name])
                continue
            rows = tensor.shape[0] // size
            mine = state_dict[name].narrow(0, rank * rows, rows).contiguous()
            parts = [torch.empty_like(mine) for _ in range(size)]
            dist.all_gather(parts, mine)
            tensor.copy_(torch.cat(parts))


def scattered(model, state_dict):
    size = dist.get_world_size()
    for name, tensor in model.state_dict().items():
        dist.scatter(tensor, [state_dict[name].clone() for _ in range(size)] if dist.get_rank() == 0 else None, src=0)


def reset_afterwards(model, state_dict):
    model.load_state_dict(state_dict)
    model.norm.reset_running_stats()


def swapped(model, state_dict):
    for name, parameter in list(model.named_parameters()):
        torch.utils.swap_tensors(parameter, nn.Parameter(state_dict[name].clone()))
    for name, buffer in model.named_buffers():
        if name in state_dict:
            buffer.set_(state_dict[name].clone())


def rebound(model, state_dict):
    for module_name, module in model.named_modules():
        for name in module._buffers:
            key = f"{module_name}.{name}" if module_name else name
            if key in state_dict:
                setattr(module, name, state_dict[key])
    parameters_only(model, state_dict)


def emptied(model, state_dict):
    model.to_empty(device="cpu")
    model.load_state_dict(state_dict)


def present(model, state_dict):
    model.load_state_dict(state_dict, strict=False)


def embedding_only(model, state_dict):
    with torch.no_grad():
        model.embed.weight.copy_(state_dict["embed.weight"])


def in_a_thread(model, state_dict):
    thread = threading.Thread(target=model.load_state_dict, args=(state_dict,))
    thread.start()
    thread.join()


def in_a_pool(model, state_dict):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda item: item[1].copy_(state_dict[item[0]]), model.state_dict().items()))


def broadcast_in_a_thread(model, state_dict):
    thread = threading.Thread(target=broadcast_from_one_rank, args=(model, state_dict))
    thread.start()
    thread.join()


def sent_and_received(model, state_dict):
    """Each rank sends before it receives: a send does not wait."""
    rank = dist.get_rank()
    for name, tensor in model.state_dict().items():
        if rank == 0:
            dist.send(state_dict[name], dst=1)
            tensor.copy_(state_dict[name])
        else:
            dist.recv(tensor, src=0)


def gathered_as_objects(model, state_dict):
    gathered = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(state_dict if dist.get_rank() == 0 else None, gathered, dst=0)
    model.load_state_dict(gathered[0] if gathered else state_dict)


def in_one_call(model, state_dict):
    names = list(model.state_dict())
    torch._foreach_copy_([model.state_dict()[name] for name in names], [state_dict[name] for name in names])


def zeroed_in_one_call(model, state_dict):
    model.load_state_dict(state_dict)
    torch._foreach_zero_([model.norm.running_mean, model.norm.running_var, model.norm.num_batches_tracked])


def made_anew(model, state_dict):
    model.load_state_dict({name: torch.tensor(value) for name, value in state_dict.items()})


def into_a_model_on_meta(model, state_dict):
    """Nothing is copied into what has no memory, and torch only warns."""
    model.to("meta")
    model.load_state_dict(state_dict)


def pickled(model, state_dict):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    model.load_state_dict(torch.load(file))


def functional(model, state_dict):
    for name, tensor in model.state_dict().items():
        tensor.copy_(funcol.broadcast(state_dict[name], 0, dist.group.WORLD))


def exiting(model, state_dict):
    raise SystemExit(3)


def raising(model, state_dict):
    raise ValueError("no such checkpoint")


def disagreeing(model, state_dict):
    if dist.get_rank() == 0:
        dist.broadcast(model.norm.running_mean, src=0)


def reading_values(model, state_dict):
    if state_dict["norm.running_mean"].sum().item() > 0:
        model.load_state_dict(state_dict)
