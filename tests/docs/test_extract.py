"""What is a command on a page, and what is not."""

import pytest

from tests.docs.extract import Step, blocks, steps

PAGE = """\
# Found

```console
$ gristmill one \\
    --two
what it
says
bob$ gristmill three
```

## Then

   ```sh
   # a comment
   gristmill four      # why
   gristmill five \\
       --six
   ```

```yaml
$ is: no command here
```
"""


def test_commands_come_in_order_with_their_output_and_host() -> None:
    assert list(steps("P", PAGE)) == [
        Step("P", 4, "Found", "", "gristmill one --two", "what it\nsays\n"),
        Step("P", 8, "Found", "bob", "gristmill three", ""),
        Step("P", 15, "Then", "", "gristmill four      # why", ""),
        Step("P", 16, "Then", "", "gristmill five --six", ""),
    ]


def test_blocks_say_their_kind_and_place() -> None:
    found = [(block.line, block.heading, block.kind) for block in blocks("P", PAGE)]
    assert found == [(4, "Found", "console"), (14, "Then", "sh"), (21, "Then", "yaml")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```console\n$ one\n", "P:2: this block does not end"),
        ("```console\nsays\n$ one\n```\n", "P:2: output before any command"),
        ("```sh\none \\\n```\n", "P:2: the last line ends with a backslash"),
    ],
)
def test_a_page_that_cannot_be_read_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(steps("P", text))
