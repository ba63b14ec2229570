"""Drawable: what flows, plans and runs have in common that can be looked at."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from flows.errors import DefinitionError, MissingDependencyError

if TYPE_CHECKING:
    from flows._draw._picture import Picture
    from flows._draw._status import Status
    from flows._plan import Plan

_FORMS: Final = ("svg", "png", "pdf", "mmd", "dot")


class Drawable:
    """Shows itself as a picture: boxes for jobs, arrows from what runs first to what waits for it.

    Dashed arrows hand over no result that must be there. Of more than 200 jobs those that are alike share a box.
    Jupyter shows the picture by itself; without pygraphviz it shows a Mermaid diagram.
    """

    __slots__ = ()

    def to_svg(self, *, critical_path: bool = False, unfold: bool = False) -> str:
        """The picture as an SVG document that loads nothing from elsewhere; the same flow, the same text.

        Args:
            critical_path: Mark the chain of jobs that takes longest.
            unfold: A box for each job, however many there are.

        Raises:
            MissingDependencyError: pygraphviz is not installed: ``pip install 'flowproducer[viz]'``.
        """
        from flows._draw._svg import Drawing

        picture, statuses, described = self._seen(critical_path=critical_path, unfold=unfold)
        return Drawing(picture, live=any(status.state for status in statuses)).svg(statuses, described)

    def to_mermaid(self, *, critical_path: bool = False, unfold: bool = False) -> str:
        """The picture as a Mermaid flowchart, for documents that draw it. Arguments as of `to_svg`."""
        from flows._draw._text_forms import mermaid

        picture, statuses, _ = self._seen(critical_path=critical_path, unfold=unfold)
        return mermaid(picture, statuses)

    def to_dot(self, *, critical_path: bool = False, unfold: bool = False) -> str:
        """The picture in Graphviz's language. Arguments as of `to_svg`."""
        from flows._draw._text_forms import dot

        picture, statuses, _ = self._seen(critical_path=critical_path, unfold=unfold)
        return dot(picture, statuses)

    def draw(self, path: str | os.PathLike[str], *, critical_path: bool = False, unfold: bool = False) -> None:
        """Write the picture to a file of the kind that its name ends in: svg, png, pdf, mmd (Mermaid) or dot.

        Raises:
            DefinitionError: The name ends in something else; nothing was written.
            MissingDependencyError: pygraphviz is not installed, and the kind needs it.
            OSError: The file cannot be written.
        """
        form = os.path.splitext(os.fspath(path))[1].lower().removeprefix(".")
        if form not in _FORMS:
            raise DefinitionError(
                f"draw() writes files that end in .{', .'.join(_FORMS)}; {os.fspath(path)!r} does not"
            )
        if form in ("png", "pdf"):
            from flows._draw._layout import render

            content = render(self.to_dot(critical_path=critical_path, unfold=unfold), form)
        else:
            write = {"svg": self.to_svg, "mmd": self.to_mermaid, "dot": self.to_dot}[form]
            content = write(critical_path=critical_path, unfold=unfold).encode()
        with open(path, "wb") as file:
            file.write(content)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """For Jupyter and its like: the picture, and its content in words for where there are no pictures."""
        try:
            picture = {"image/svg+xml": self.to_svg()}
        except MissingDependencyError as error:
            return {"text/vnd.mermaid": self.to_mermaid(), "text/plain": f"{self!r}\n{error}"}
        return picture | {"text/plain": repr(self)}

    @abstractmethod
    def _seen(self, *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
        """The picture, what stands in its boxes, and all of it in words."""


def seen_plan(plan: Plan[Any], *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
    """As `Drawable._seen`, of a plan."""
    from flows._draw._graph import planned_path
    from flows._draw._picture import picture_of
    from flows._draw._status import planned

    picture = picture_of(plan, critical=planned_path(plan) if critical_path else (), unfold=unfold)
    return picture, planned(picture), plan.explain()
