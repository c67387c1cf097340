"""`gristmill completion`: what makes a shell finish commands, options and file names."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the lines that make SHELL complete commands, options and file names.

    \b
    gristmill completion bash > \\
        ~/.local/share/bash-completion/completions/gristmill
    gristmill completion zsh > ~/.zfunc/_gristmill        # ~/.zfunc is in fpath
    gristmill completion fish > ~/.config/fish/completions/gristmill.fish
    """
    from gristmill.cli import gristmill

    kind = get_completion_class(shell)
    assert kind is not None, shell  # click knows all of SHELLS
    click.echo(kind(gristmill, {}, "gristmill", "_GRISTMILL_COMPLETE").source())
