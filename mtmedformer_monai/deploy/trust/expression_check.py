"""Decides whether a `$` expression of a MONAI configuration is harmless, without evaluating it.

An expression is Python code. Harmless are arithmetic, comparisons, lists and conditions on constants and references
(`@id`), and the calls and attributes listed here. Everything else, such as an import or an attribute that leads to a
module, counts as foreign code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

RELATIVE = re.compile(r"[@%](?:#|::)")
"""A relative id, in whose place MONAI pastes the keys around it, whatever they contain."""
_REFERENCE = re.compile(r"@\w*(?:::\w*)*")
_REFERENCES = "__local_refs"
"""Name of MONAI's dict of references in the text that it evaluates."""
_STAND_IN = "@"
"""Name of a reference in the syntax tree, which no text can have."""

_BUILTINS = frozenset({"len", "sum", "str", "int", "float", "bool", "min", "max", "list", "tuple", "dict", "range",
                       "sorted", "round", "abs", "zip", "enumerate", "type"})  # fmt: skip
_FUNCTIONS = frozenset({
    "torch.device", "torch.cuda.is_available", "torch.cuda.device_count", "torch.cuda.set_device",
    "torch.backends.mps.is_available", "torch.distributed.is_initialized", "monai.utils.set_determinism",
    "monai.data.DistributedSampler",
})  # fmt: skip
_CONSTANTS = re.compile(r"torch\.(float|int|bfloat|uint)\d+|torch\.bool")
_METHODS = frozenset({"to", "run", "attach", "check", "parameters", "numel", "join", "items", "keys", "values"})
_ATTRIBUTES = frozenset({"name", "task", "type", "classes", "structures", "max_epochs", "network", "__name__"})
_NODES = (
    ast.Expression, ast.Constant, ast.Name, ast.Attribute, ast.Call, ast.keyword, ast.BinOp, ast.BoolOp, ast.UnaryOp,
    ast.Compare, ast.IfExp, ast.List, ast.Tuple, ast.Dict, ast.Subscript, ast.Slice, ast.Starred, ast.ListComp,
    ast.GeneratorExp, ast.comprehension, ast.Lambda, ast.arguments, ast.arg, ast.operator, ast.boolop, ast.unaryop,
    ast.cmpop, ast.expr_context,
)  # fmt: skip

_OF_DISTRIBUTED_TRAINING = frozenset({
    "import os",
    "from mtmedformer_monai.engines import join_process_group",
    "from mtmedformer_monai.engines import leave_process_group",
    "join_process_group(@backend)",
    "leave_process_group(@network)",
    "torch.device('cuda:' + os.environ['LOCAL_RANK'] if torch.cuda.is_available() else 'cpu')",
})  # fmt: skip
"""Expressions of `multi_gpu_train.json`, which are allowed literally."""


def is_harmless(expression: str) -> bool:
    """Returns whether an expression, without its `$`, consists only of what is listed above.

    Example:
        >>> is_harmless("torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')"), is_harmless("@a + '/b'")
        (True, True)
        >>> is_harmless("__import__('os').system('ls')"), is_harmless("torch.os.system('ls')")
        (False, False)
    """
    if expression.strip() in _OF_DISTRIBUTED_TRAINING:
        return True
    if RELATIVE.search(expression):
        return False
    try:
        tree = ast.parse(evaluated_text(expression).strip(), mode="eval")
        if not all(isinstance(node, _NODES) for node in ast.walk(tree)):
            return False
        return not any(_find_foreign(_References().visit(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def evaluated_text(expression: str) -> str:
    """Returns the text that MONAI evaluates: with `::` for `#`, and references as entries of a dict.

    The text is replaced everywhere, within quotes and comments too, so only this text tells what is evaluated.

    Example:
        >>> evaluated_text("@a#b + 1")
        "__local_refs['a::b'] + 1"
    """
    text = expression.replace("#", "::")
    for reference in sorted(set(_REFERENCE.findall(text)), key=len, reverse=True):
        text = text.replace(reference, f"{_REFERENCES}['{reference[1:]}']")
    return text


class _References(ast.NodeTransformer):
    """Replaces references by names."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Returns a name in place of an entry of MONAI's dict."""
        is_reference = isinstance(node.value, ast.Name) and node.value.id == _REFERENCES
        if is_reference and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return ast.copy_location(ast.Name(_STAND_IN, ast.Load()), node)
        return self.generic_visit(node)


def _find_foreign(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields names, attributes and calls that are not listed."""
    local = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    local |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    known: set[int] = set()
    for node in ast.walk(tree):
        path = _dotted(node)
        if path and (path in _FUNCTIONS or _CONSTANTS.fullmatch(path)):
            known |= {id(part) for part in ast.walk(node)}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if id(node) in known:
            continue
        if isinstance(node, ast.Attribute):
            if node.attr not in (_METHODS if id(node) in called else _ATTRIBUTES):
                yield node
        elif isinstance(node, ast.Name):
            allowed = _BUILTINS | {_STAND_IN}
            if node.id not in (allowed if id(node) in called else allowed | local):
                yield node
        elif id(node) in called:  # the result of an expression, such as a[0](...)
            yield node
    if local & (_BUILTINS | {_REFERENCES}):
        yield tree


def _dotted(node: ast.AST) -> str:
    """Returns the path of an attribute of a module, such as 'torch.cuda.is_available', or ''."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) and parts else ""
