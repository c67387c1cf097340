"""Random single-byte changes: which subject, which byte, which other value."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from tests.tamper import artifacts, chains, logs, published
from tests.tamper.subject import Change, Subject


@dataclass(frozen=True, kw_only=True)
class Group:
    """Subjects of one kind, and how many of a hundred changes they get."""

    name: str
    share: int
    subjects: Sequence[Subject]


@cache
def groups() -> tuple[Group, ...]:
    """Everything that is changed; made once."""
    under_key = chains.of_the_log()
    at_the_door = chains.at_the_door()
    return (
        Group(name="log", share=45, subjects=logs.entries()),
        Group(name="archive", share=5, subjects=[logs.archive()]),
        Group(name="files", share=5, subjects=published.files()),
        Group(name="certificates", share=20, subjects=under_key),
        Group(name="blocks", share=20, subjects=at_the_door),
        Group(name="artifacts", share=5, subjects=artifacts.artifacts()),
    )


def changes(seed: int) -> Iterator[Change]:
    """Without end.  In a group every byte is as likely as any other."""
    random, made = Random(seed), groups()
    sizes = {group.name: [len(subject.data) for subject in group.subjects] for group in made}
    while True:
        (group,) = random.choices(made, [each.share for each in made])
        (subject,) = random.choices(group.subjects, sizes[group.name])
        place = random.randrange(len(subject.data))
        yield Change(subject=subject, place=place, mask=random.randrange(1, 256))
