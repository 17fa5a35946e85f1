"""The docs site: ``tox -e docs`` builds it offline, with warnings as errors.

Why Sphinx: it is the generator that reads the docstrings of the field (numpydoc's sections) and whose search works from a folder on a
disk. Its source is the whole repository, so that a link between pages leads to the same page here and on GitHub.
"""

from napari_limn.version import __version__

project, author, release = "napari-limn", "The napari-limn developers", __version__
copyright = "The napari-limn developers, BSD-3-Clause"  # noqa: A001 the name that Sphinx reads
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "changes/README.md",
    "examples/README.md",
    "docs/**",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
]
html_theme = "furo"
html_title = "napari-limn"
html_extra_path = ["_site"]  # index.html, which leads to docs/index.html
html_copy_source = False

myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # a page may begin its headings where it likes

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
