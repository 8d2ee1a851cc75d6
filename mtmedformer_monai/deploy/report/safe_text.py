"""Makes text from elsewhere, such as file names, safe to show and to link."""

from __future__ import annotations

import os
import unicodedata
from urllib.parse import quote

INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
"""Unicode categories that are shown as escapes: control and format characters (which can reverse the text that
follows), surrogates (undecodable bytes of a file name), private use, and line separators."""


def visible(text: object) -> str:
    r"""Returns text with invisible and undecodable characters replaced by escapes; HTML is escaped by the template.

    Example:
        >>> visible("scan\u202egpj.exe"), visible(None), visible("über")
        ('scan\\u202egpj.exe', '', 'über')
    """
    if text is None:
        return ""
    return "".join(_shown(character) for character in str(text))


def relative_url(*parts: str) -> str:
    """Returns the URL of a file relative to the report; it is never absolute, outside or with a scheme.

    Example:
        >>> relative_url("a b", "javascript:1#.png")
        './a%20b/javascript%3A1%23.png'
    """
    names = [name for part in parts for name in part.replace("\\", "/").split("/") if name not in ("", ".", "..")]
    return "./" + "/".join(quote(os.fsencode(name), safe="") for name in names)


def _shown(character: str) -> str:
    if unicodedata.category(character) in INVISIBLE:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
