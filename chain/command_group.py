"""A group whose `--help` lists commands in the order in which a newcomer meets them."""

import click


class InOrder(click.Group):
    """As click's group, but not sorted: the order of definition is kept."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they were added."""
        return list(self.commands)
