"""The operator's command that shows the agent an image."""

from __future__ import annotations

from memos.errors import BadInput
from memos.terminal.command_registry import CommandContext, command
from memos.terminal.images import showing
from memos.terminal.mentions import split_path


@command("image", argument="PATH [WORDS]", takes_path=True)
async def show_image(context: CommandContext, argument: str) -> None:
    """Show the agent an image file (PNG, JPEG, GIF, WebP), with words to it.

    A path with spaces is quoted. @PATH within a message does the same, and so does a dropped or pasted file. The image
    is kept with the message, without its metadata and at most 1,568 pixels long; the newest three messages with images
    show them to the model, older ones only name them.
    """
    context.check_writable()
    if not argument:
        raise BadInput("/image takes the path of an image file.", "/image photo.jpg what is this?")
    path, words = split_path(argument)
    event, lines = await showing(context.session.kernel, words, [path])
    for line in lines:
        context.say(line, "dim")
    context.post(event)
