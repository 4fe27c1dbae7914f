"""Terminal attacks: texts that would steer a terminal, or a library that draws on it, if they reached it as they are.

Each ends in ordinary words, which must all be seen.
"""

from __future__ import annotations

ESC, BEL, ST = "\x1b", "\x07", "\x1b\\"

_SEQUENCES = {
    "OSC 0 title": f"{ESC}]0;owned{BEL}",
    "OSC 0 title, ST": f"{ESC}]0;owned{ST}",
    "OSC 1 icon": f"{ESC}]1;owned{BEL}",
    "OSC 2 title": f"{ESC}]2;owned{BEL}",
    "OSC 4 palette": f"{ESC}]4;1;rgb:00/00/00{BEL}",
    "OSC 7 folder": f"{ESC}]7;file:///etc{BEL}",
    "OSC 8 link": f"{ESC}]8;;http://evil.example{BEL}bank.example{ESC}]8;;{BEL}",
    "OSC 8 file link": f"{ESC}]8;;file:///etc/passwd{ST}here{ESC}]8;;{ST}",
    "OSC 9 notification": f"{ESC}]9;pay now{BEL}",
    "OSC 9;7 run": f"{ESC}]9;7;touch /tmp/x{BEL}",
    "OSC 10 ink": f"{ESC}]10;#000000{BEL}",
    "OSC 11 paper": f"{ESC}]11;#ffffff{BEL}",
    "OSC 11 question": f"{ESC}]11;?{BEL}",
    "OSC 50 font": f"{ESC}]50;wingdings{BEL}",
    "OSC 52 clipboard": f"{ESC}]52;c;cm0gLXJm{BEL}",
    "OSC 52 question": f"{ESC}]52;c;?{BEL}",
    "OSC 133 prompt": f"{ESC}]133;A{BEL}",
    "OSC 777 notification": f"{ESC}]777;notify;a;b{BEL}",
    "OSC 1337 file": f"{ESC}]1337;File=inline=1:AAAA{BEL}",
    "OSC 1337 focus": f"{ESC}]1337;StealFocus{BEL}",
    "OSC without an end": f"{ESC}]0;",
    "CSI erase": f"{ESC}[2J{ESC}[H",
    "CSI scrollback": f"{ESC}[3J",
    "CSI up": f"{ESC}[99A{ESC}[2K",
    "CSI colour": f"{ESC}[31;1m",
    "CSI invisible": f"{ESC}[8m",
    "CSI margins": f"{ESC}[5;6r",
    "CSI alternate screen": f"{ESC}[?1049h",
    "CSI mouse": f"{ESC}[?1003h",
    "CSI no cursor": f"{ESC}[?25l",
    "CSI paste mode": f"{ESC}[?2004l",
    "CSI pasted": f"{ESC}[201~",
    "CSI where": f"{ESC}[6n",
    "CSI who": f"{ESC}[c",
    "CSI title back": f"{ESC}[21t",
    "CSI window": f"{ESC}[8;1;1t",
    "CSI repeat": f"a{ESC}[999999b",
    "CSI insert": f"{ESC}[4h",
    "CSI without an end": f"{ESC}[",
    "ESC reset": f"{ESC}c",
    "ESC line drawing": f"{ESC}(0",
    "ESC reverse index": f"{ESC}M{ESC}M",
    "ESC save and restore": f"{ESC}7{ESC}8",
    "ESC alone": ESC,
    "DCS request": f'{ESC}P$q"p{ST}',
    "DCS sixel": f"{ESC}Pq#0;2;0;0;0~~{ST}",
    "DCS tmux": f"{ESC}Ptmux;{ESC}{ESC}]52;c;AA=={BEL}{ST}",
    "APC": f"{ESC}_Gf=24;AAAA{ST}",
    "PM": f"{ESC}^private{ST}",
    "SOS": f"{ESC}Xsos{ST}",
    "C1 CSI": "\x9b31m",
    "C1 OSC": "\x9d0;owned\x9c",
    "C1 DCS": "\x90q~\x9c",
    "C1 APC": "\x9fGx\x9c",
    "C1 next line": "a\x85b",
    "C1 reverse index": "\x8d",
    "CR over": "rm -rf\rharmless",
    "BS over": "evil\b\b\b\bgood",
    "bell": BEL * 3,
    "shift out": "\x0e\x0f",
    "form feed": "\x0b\x0c",
    "NUL": "\x00",
    "DEL": "\x7f",
    "enquiry": "\x05",
    "bidi override": "abc\u202edef\u202c",
    "bidi isolate": "\u2066abc\u2069\u2067def\u2069",
    "bidi marks": "\u200e\u200f\u061c",
    "bidi embedding": "\u202a\u202babc\u202c",
    "line separator": "a\u2028b\u2029c",
    "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "run this"),
    "language tag": "\U000e0001",
}
_WORDS = {
    "Rich closing tag": "[/foo]",
    "Rich words": "[abc]",
    "Rich style": "[bold red]loud[/bold red]",
    "Rich link": "[link=http://evil.example]bank[/link]",
    "Rich action": "[@click=app.quit]x[/]",
    "Rich escape": "\\[bold] \\\\[/bold]",
    "Rich emoji": ":skull: :warning:",
    "prompt_toolkit HTML": "<ansired>x</ansired> <b>y</b> &lt;",
    "prompt_toolkit ANSI": "\\x1b[31m \\001 \\002",
    "percent and braces": "%s %(x)s {0} {name} {{}}",
    "Markdown": "# h *a* _b_ `c` [d](javascript:e) ![f](http://g.example/h.png)",
    "combining marks": "z\u0351\u036b\u0343a\u033b\u0349l\u030d\u0308g\u0321\u0315o\u0316\u0317",
    "many combining marks": "e" + "\u0301" * 200,
    "wide": "日本語 한국어 👩‍👩‍👧‍👦 🇪🇺",
    "zero width": "a\u200bb\u200cc\ufeffd",
}

ATTACKS = {**_SEQUENCES, **_WORDS}
"""What is tried, by name."""

ORDINARY = "[abc] stays [/foo] whole [1]"
"""Words after each attack."""

HARMFUL = (
    *(character for character in map(chr, range(0x20)) if character not in "\t\n"),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
    *map(chr, range(0xE0000, 0xE0080)),
)
"""Characters that no text may bring to a terminal."""
