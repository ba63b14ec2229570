"""The documentation: `make docs` writes it to docs/_build/html, and takes every warning for an error."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from sphinx.pycode import ModuleAnalyzer

import flows
import flows.testing
from tools import pages

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "flows"
author = "The flows authors"
project_copyright = "2026, The flows authors"
version = release = flows.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "_generated"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = "flows"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["flows.css"]
html_show_sphinx = False

# What stands between single backticks in a docstring is a name of ours where there is one, and code otherwise.
default_role = "py:obj"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Links to files of the repository are downloads; those to modules of ours lead to where the names are public.
PUBLIC = {**{name: f"flows.{name}" for name in flows.__all__}}
PUBLIC |= {name: f"flows.testing.{name}" for name in flows.testing.__all__}


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> nodes.reference | None:
    """Find a name of a private module under the public name that it is documented by."""
    if node.get("refdomain") != "py":
        return None
    public = PUBLIC.get(str(node.get("reftarget", "")).rpartition(".")[2])
    if public is None or public == node.get("reftarget"):
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, contnode)  # type: ignore[return-value]


def names_apart(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Write "keep, keep_failed: Seconds" so that it is not read as a name and its type."""
    lines[:] = [re.sub(r"^\s+\w+(, \w+)+(?=:)", lambda found: found[0].replace(", ", ","), line) for line in lines]


def written_plainly(app: Sphinx) -> None:
    """Have the decorators shown as one writes them: their overloads are for type checkers."""
    for module, name in (("flows._task", "task"), ("flows._flow", "flow")):
        analyzer = ModuleAnalyzer.for_module(module)
        analyzer.analyze()
        analyzer.overloads.pop(name, None)


def setup(app: Sphinx) -> None:
    logging.getLogger("flows").setLevel(logging.CRITICAL)  # the pictures are of jobs that fail
    app.connect("builder-inited", lambda _: pages.write(HERE / "_generated"))
    app.connect("builder-inited", written_plainly)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", names_apart, priority=100)
