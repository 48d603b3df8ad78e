"""What is known of a file once it has been read: small frozen values that can be cached and sent between
processes.

Nothing here depends on where the file lies, so that the same bytes always give the same facts. Names are as
the file spells them; `project` resolves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bufaudit.source.suppressions import Suppression
from bufaudit.source.text import Unreadable

StateKind = Literal[
    "parameters",  # named_parameters(), parameters(), _parameters
    "buffers",  # named_buffers(), buffers(), _buffers
    "state_dict",  # state_dict(): parameters and persistent buffers
    "saved",  # the entries of a checkpoint
    "shapes",  # names and shapes of parameters that were written down elsewhere
]

#: What happens to a tensor that a walk yields.
EffectKind = Literal[
    "write",  # its memory or `.data` gets another value
    "store",  # it goes into a container, or is yielded
    "pass",  # it is an argument of a call
    "mark",  # an attribute is set on it
    "settle",  # its name is taken off the missing keys
    "lookup",  # it is found by the name of a checkpoint entry
    "assign",  # it is put into a module under a name
    "attribute",  # an attribute of it is read that only some tensors have
    "missing",  # its name is compared with the names of a checkpoint
]

#: What the conditions around an effect, or the loop's early exits before it, ask about.
Guard = Literal[
    "rank",  # true on one rank only
    "requires_grad",
    "adapter",
    "initialized",
    "buffer",
    "parameter",
    "sharded",
    "name",
    "membership",
]

#: Where a written or stored value comes from.
Origin = Literal[
    "checkpoint",
    "state",  # a tensor of another walk
    "arithmetic",
    "other",  # anything that is none of these
    "moved",  # the tensor's own value on another device
    "cast",  # the tensor's own value in another dtype
    "copied",  # a copy of it
    "raw",  # the tensor object itself
    "parameter",  # wrapped in nn.Parameter
    "gradient",
    "keyed",  # stored under the tensor's name
    "whole",  # a container of tensors, given as it is
    "meta",  # a tensor on the meta device
]

#: When a method runs, as far as its name and its callers in the class tell.
Phase = Literal[
    "construction",
    "load",  # while a checkpoint is read
    "forward",
    "training",  # when it is fitted, calibrated or trained
    "later",  # when somebody outside calls it
]

#: What the making of a buffer's value does under `torch.device("meta")`; see `torch_state`.
MetaEffect = Literal[
    "sizes",  # `torch.Tensor` of values: on the CPU, and DeepSpeed's zero.Init takes the values for sizes
    "escapes",  # it is on the CPU
    "raises",  # it asks a meta tensor for its values, or mixes one with a tensor on the CPU
]

#: How memory is let go of, or taken without a value in it.
DropKind = Literal[
    "to_empty",
    "empty_like",  # each tensor of a walk over buffers becomes an empty one
    "unsaved",  # so does each of a walk over non-persistent buffers
    "meta",  # a model is built with its buffers on the meta device too
    "pool",  # a memory pool with a module in it is dropped
    "reload",  # what a layer holds after it was materialised is copied over the buffers that it had
]

#: What a tensor that a class keeps is: drawn at random, computed alike each time, or given to the constructor.
TensorMade = Literal["random", "table", "argument"]
#: What `forward` does with such a tensor: the use that says most.
TensorUse = Literal[
    "operation",  # it is combined with what comes from the inputs
    "average",  # it is updated from its own value
    "read",  # anything else
]


@dataclass(frozen=True, slots=True)
class Place:
    """A span of source, and the lines of the statement that it belongs to (of a compound one, its header).

    Lines and columns count from 1, columns in characters; `end_column` is exclusive.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True)
class Import:
    """A name that a module-level import binds: `name` stands for `target`, which starts with dots where relative."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class MetaHazard:
    """A call that a buffer's value comes from, and what the meta device does to it."""

    effect: MetaEffect
    text: str


@dataclass(frozen=True, slots=True)
class RegistrationFact:
    """A statement that registers a buffer; see `results.Registration`.

    `receiver` is the expression whose module gets the buffer; `class_name` the class around the statement. `made_from`
    is `value`, or where that is a local variable, what the variable was last assigned. `method` is the function around
    it, `when` tells when that runs, `each_time` whether the value is made anew in each `forward`, `in_fit_of_more`
    whether the fit that registers it also sets attributes that no state dict holds, and `hazards` what of the value's
    making does not suit the meta device.
    """

    class_name: str | None
    receiver: str
    name: str
    persistent: bool | str
    value: str
    made_from: str
    how: Literal["register_buffer", "nn.Buffer", "setattr", "_buffers"]
    place: Place
    condition: str | None
    method: str
    when: Phase
    each_time: bool
    in_fit_of_more: bool
    hazards: tuple[MetaHazard, ...]

    @property
    def symbol(self) -> str:
        """The qualified name of the method around it."""
        return f"{self.class_name}.{self.method}"


@dataclass(frozen=True, slots=True)
class FillFact:
    """A method assigns a value to a buffer that its class registers as None, which makes it part of the state dict.

    `in_fit_of_more` is as in `RegistrationFact`.
    """

    class_name: str
    name: str
    made_from: str
    method: str
    when: Phase
    each_time: bool
    in_fit_of_more: bool
    place: Place


@dataclass(frozen=True, slots=True)
class RestoreFact:
    """An initialiser writes `attribute` of `target`.

    `target` is a class that it asks for by isinstance, a part of a class's name between stars, "*" for any module it
    is given, or None for its own object. `how` tells a function that is given the tensor, such as `init.zeros_(x)`,
    from an in-place method or operator, from assignment, and from a mark: a flag set on the tensor, whose guards
    have "initialized" where the initialiser reads that flag of that tensor. One that is `partial` writes only what
    an index picks. It `needs` the attributes that it asks modules to have before it writes.
    """

    initialiser: str
    target: str | None
    attribute: str
    how: Literal["function", "in-place", "assignment", "mark"]
    place: Place
    guards: frozenset[Guard]
    partial: bool = False
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class HandoverFact:
    """An initialiser leaves a module to other code: to a method of the module, or to a function that is given it.

    `target` is as in `RestoreFact`; `callee` is the method's name where it is one `of_module`, else the called
    expression.
    """

    initialiser: str
    target: str | None
    callee: str
    of_module: bool


@dataclass(frozen=True, slots=True)
class SparingFact:
    """An initialiser leaves alone a module whose tensors are all marked as loaded, if its argument `option` is true."""

    initialiser: str
    option: str
    place: Place


@dataclass(frozen=True, slots=True)
class MethodFact:
    """A method of a class that registers non-persistent buffers, or an initialiser of any class.

    `writes` are the attributes of its object that get a value which is not made of their own old one (with `{}` for
    what is computed in a name), `calls` the methods of its object that it calls or gives on.
    """

    class_name: str
    name: str
    line: int
    end_line: int
    writes: tuple[str, ...]
    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Touch:
    """A line that writes an attribute of the name of a non-persistent buffer, of an object other than `self`."""

    name: str
    line: int


@dataclass(frozen=True, slots=True)
class TensorAttribute:
    """A tensor that a constructor keeps as a plain attribute of self, and that `forward` uses.

    A tensor that is `placed` was made on a device of the author's choice; one that is `moved` is taken to another
    device, or asked for its own, somewhere in the class. One that is `optional` may be a number instead, or what the
    constructor is given. `saved` tells that the class has a say in what is saved of it.
    """

    class_name: str
    method: str
    name: str
    made: TensorMade
    optional: bool
    placed: bool
    moved: bool
    saved: bool
    use: TensorUse
    use_line: int
    place: Place

    @property
    def symbol(self) -> str:
        """The qualified name of the method that keeps it."""
        return f"{self.class_name}.{self.method}"


@dataclass(frozen=True, slots=True)
class ClassFact:
    """A class; `bases` are names as the file spells them.

    One that `wraps_pretrained` has an initialiser and builds a module that another library loads weights into. One that
    `handles_state_dict` has a say in how its state dict is made or loaded.
    """

    name: str
    line: int
    bases: tuple[str, ...]
    wraps_pretrained: bool
    handles_state_dict: bool


@dataclass(frozen=True, slots=True)
class Walk:
    """Code that iterates over, or indexes, some of a module's state.

    `receiver` is the source text of the module, `receiver_type` the class that the code around constructs it
    from, where that is known.
    """

    kind: StateKind
    receiver: str
    receiver_type: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Effect:
    """What one statement does to the tensors of some walks.

    `walks` are positions in `Function.walks`: those whose tensors are acted upon. `sources` are the walks
    from which the value comes, `target` names the container, callee or attribute.
    """

    kind: EffectKind
    place: Place
    walks: tuple[int, ...]
    sources: tuple[int, ...]
    target: str
    origins: frozenset[Origin]
    guards: frozenset[Guard]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that matters whether or not a tensor of a walk goes into it.

    `arguments` are source texts, `keywords` pairs of name and source text; `walks` are the walks over which
    an argument iterates, by position of the argument. `origin` is the source text from which the first
    argument was last assigned. `used` tells whether the result goes anywhere. `receiver_guards` are the conditions
    under which the object that is called upon was made.
    """

    callee: str
    arguments: tuple[str, ...]
    keywords: tuple[tuple[str, str], ...]
    walks: tuple[tuple[int, ...], ...]
    origin: str
    used: bool
    receiver_guards: frozenset[Guard]
    place: Place
    guards: frozenset[Guard]


@dataclass(frozen=True, slots=True)
class Cast:
    """A statement that casts a module, its floating point buffers with it, to `dtype`, a source text.

    `receiver_type` is the class that the module is made or loaded from, where the code around says so. A module that is
    `one_of_many` comes from a walk over a tree's modules; one that is `handed_on` is cast for another call.
    One that is `meant` stands at a comment that speaks of buffers. One that `goes_on` is trained, or generates for its
    own training, by the same function. It is to `half` precision where that function says so, whatever it calls it.
    """

    receiver: str
    receiver_type: str | None
    dtype: str
    one_of_many: bool
    handed_on: bool
    meant: bool
    place: Place
    goes_on: bool = False
    half: bool = False


@dataclass(frozen=True, slots=True)
class DtypeUse:
    """What a method that can run once an object is built makes of the dtype of a buffer that its class registers.

    The buffer is "rounded" to the dtype of something that the method is given, "raised" to float32, "asked" for its
    dtype, "renewed" by an assignment or just "read"; or "positions" are made in its dtype.
    """

    class_name: str
    attribute: str
    how: Literal["rounded", "positions", "raised", "asked", "renewed", "read"]
    method: str
    place: Place


@dataclass(frozen=True, slots=True)
class Function:
    """A function, method or the module's own code (named `<module>`) in which something happens to state.

    `words` are the identifiers in the function's body, its own nested functions included, that say what state
    it knows of.
    """

    name: str
    class_name: str | None
    line: int
    end_line: int
    doc: str
    parameters: tuple[str, ...]
    words: frozenset[str]
    walks: tuple[Walk, ...]
    effects: tuple[Effect, ...]
    calls: tuple[Call, ...]
    casts: tuple[Cast, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """What a call in the same file gives for a parameter whose state a function walks.

    `function` is that function's name, `type_name` the class that the code around the call constructs it from.
    """

    function: str
    parameter: str
    text: str
    type_name: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A call and its arguments, "=" and what is set by it, or "return" and what is returned."""

    callee: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class DropFact:
    """A place after which tensors of `module`, of the class `module_type` where that is known, hold nothing.

    It is `given` where the function has it as a parameter. `before` and `after` are the steps on the same path, those
    of callers and of called functions nearby included. A dropped pool comes back on the line `wakes`. `built` is the
    call that made the module on the meta device, where the same function or class has it.
    """

    function: str
    class_name: str | None
    doc: str
    how: DropKind
    module: str
    module_type: str | None
    given: bool
    place: Place
    before: tuple[Step, ...]
    after: tuple[Step, ...]
    wakes: int | None = None
    built: Step | None = None


@dataclass(frozen=True, slots=True)
class FileFacts:
    """All that is known of one file.

    `buffers_read` are the names of non-persistent buffers that it registers and whose value it reads anywhere.
    """

    imports: tuple[Import, ...] = ()
    star_imports: tuple[str, ...] = ()
    aliases: tuple[Import, ...] = ()
    classes: tuple[ClassFact, ...] = ()
    functions: tuple[Function, ...] = ()
    arguments: tuple[Argument, ...] = ()
    registrations: tuple[RegistrationFact, ...] = ()
    fills: tuple[FillFact, ...] = ()
    restores: tuple[RestoreFact, ...] = ()
    handovers: tuple[HandoverFact, ...] = ()
    sparings: tuple[SparingFact, ...] = ()
    methods: tuple[MethodFact, ...] = ()
    touches: tuple[Touch, ...] = ()
    buffers_read: frozenset[str] = frozenset()
    dtype_uses: tuple[DtypeUse, ...] = ()
    drops: tuple[DropFact, ...] = ()
    attributes: tuple[TensorAttribute, ...] = ()
    words: frozenset[str] = frozenset()
    suppressions: tuple[Suppression, ...] = ()
    generated_from: str | None = None
    unreadable: Unreadable | None = None
