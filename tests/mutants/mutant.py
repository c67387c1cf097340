"""A mutant: texts of the product that are replaced, the law that this breaks, its judges."""


class Mutant:
    """One planted fault."""

    def __init__(
        self, name: str, law: str, tests: tuple[str, ...], *edits: tuple[str, str, str]
    ) -> None:
        self.name = name
        self.law = law
        self.tests = tests  # the smallest selection that should see it
        self.edits = edits  # (file, old, new); old stands there exactly once


class NoSuchText(Exception):
    """The product has changed, and the mutant with it must."""


def mutated(text: str, mutant: Mutant, file: str) -> str:
    """The file's text with the mutant's edits.  Raises NoSuchText."""
    for place, old, new in mutant.edits:
        if place == file:
            if text.count(old) != 1:
                raise NoSuchText(f"{mutant.name}: stands {text.count(old)} times in {file}: {old}")
            text = text.replace(old, new)
    return text
