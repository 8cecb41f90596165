"""A griffe extension: `Example:` of the docstrings is a section of code, not a box of prose."""

import re

from griffe import Extension


class ExampleSections(Extension):
    """Give the section the name under which the parser knows it."""

    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.M)
