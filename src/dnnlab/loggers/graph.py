"""The picture of a network that TensorBoard draws: every operation of one forward pass, inside the module that it belongs to.

torch.jit.trace would tell the same, but it is deprecated and its first call imports half a second of algebra.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def network_graph(model: nn.Module, example: Tensor) -> GraphDef:
    """The graph of one evaluation of a copy of `model` on the CPU. example: (B, D).

    >>> graph = network_graph(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.zeros(1, 2))
    >>> [(node.name, list(node.input)) for node in graph.node][-2:]
    [('1/relu', ['0/linear']), ('scores', ['1/relu'])]
    """
    model = copy.deepcopy(model).cpu().eval()
    example = example.detach().cpu()
    watch = _Watch(model)
    watch.add("rows", "Input", [], example)
    with torch.no_grad(), watch:
        output = model(example)
    watch.scopes.clear()
    watch.add("scores", "Output", [output], output)
    return GraphDef(node=watch.nodes, versions=VersionDef(producer=22))


@final
class _Watch(TorchFunctionMode):
    """Notes each call of a torch function that gives a tensor: who made its inputs, and inside which module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.nodes: list[NodeDef] = []
        self.scopes: list[str] = []
        self._made: dict[int, str] = {}  # id of a tensor -> the node that made it
        self._kept: list[Tensor] = []  # an id means something only while its tensor lives
        self._names: set[str] = set()
        self._parameters = {id(tensor): name for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        for name, module in model.named_modules():
            module.register_forward_pre_hook(self._enter(name.replace(".", "/")))
            module.register_forward_hook(self._leave, always_call=True)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            name = getattr(func, "__name__", "operation")
            name = getattr(getattr(func, "__self__", None), "__name__", "view") if name == "__get__" else name.strip("_")
            inputs = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
            self.add(name, name, inputs, result)
        return result

    def add(self, name: str, op: str, inputs: Sequence[Tensor], result: Tensor) -> None:
        """Note that `result` was made from `inputs`."""
        made_from = [self._maker(tensor) for tensor in inputs]
        full = self._free("/".join([*self.scopes[-1:], name]))
        self._node(full, op, [maker for maker in made_from if maker], result)
        self._made[id(result)] = full
        self._kept.append(result)

    def _maker(self, tensor: Tensor) -> str | None:
        """The node that made a tensor; a parameter's is drawn when it is first used, and an unknown one's not at all."""
        known = self._made.get(id(tensor))
        if known is None and id(tensor) in self._parameters:
            known = self._free(self._parameters[id(tensor)].replace(".", "/"))
            self._node(known, "Parameter", [], tensor)
            self._made[id(tensor)] = known
        return known

    def _node(self, name: str, op: str, inputs: Sequence[str], result: Tensor) -> None:
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in result.shape])
        shapes = AttrValue(list=AttrValue.ListValue(shape=[shape]))
        self.nodes.append(NodeDef(name=name, op=op, input=inputs, attr={"_output_shapes": shapes}))

    def _free(self, name: str) -> str:
        number, free = 1, name
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free

    def _enter(self, scope: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
            self.scopes.append(scope)

        return enter

    def _leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Leave the module's scope; what was made unseen, by a compiled function, is the module's own node."""
        if isinstance(output, Tensor) and id(output) not in self._made:
            self.add(type(module).__name__, type(module).__name__, [arg for arg in args if isinstance(arg, Tensor)], output)
        self.scopes.pop()
