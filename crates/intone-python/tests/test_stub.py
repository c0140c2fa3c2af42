"""The stub, which editors read, says what the compiled objects say."""

import ast
import inspect
from pathlib import Path

import pytest

import intone
from intone import _native

STUB = Path(intone.__file__).with_name("_native.pyi")


def documented():
    """Every class, method, property and function of the stub with its object."""
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            thing = getattr(_native, node.name)
            yield node.name, node, thing
            for part in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
                if isinstance(part, ast.FunctionDef) and part.name != "__new__":
                    yield f"{node.name}.{part.name}", part, getattr(thing, part.name)


@pytest.mark.parametrize(("node", "thing"), [pytest.param(node, thing, id=name) for name, node, thing in documented()])
def test_the_stub_says_what_the_object_says(node, thing):
    assert ast.get_docstring(node) == inspect.getdoc(thing)
    assert len(inspect.getdoc(thing)) > 20
