"""What V1.0 wants of a reply: user name and password encrypted, and the size of the key (spec §3.3).
Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from billing_sync.koogallery.answers import Answer
from billing_sync.koogallery.cipher import ValueCipher, encrypted_length

_SENSITIVE: Final = ("userName", "password")
_MAX_ENCRYPTED: Final = 128


def sealed(answer: Answer, cipher: ValueCipher, new_iv: Callable[[], str]) -> Answer:
    """The reply with its access data encrypted; `new_iv()` makes a fresh vector for each value.

    What would be longer than the field allows is left out: cut off, it could not be decrypted.
    """
    info = answer.info
    if answer.app_info is None and not info:
        return answer
    return replace(
        answer,
        encrypt_type=cipher.encrypt_type,
        app_info=None if answer.app_info is None else _seal(answer.app_info, cipher, new_iv),
        info=None if info is None else tuple(_entry(each, cipher, new_iv) for each in info),
    )


def _entry(
    entry: dict[str, object], cipher: ValueCipher, new_iv: Callable[[], str]
) -> dict[str, object]:
    app_info = entry.get("appInfo")
    if not isinstance(app_info, Mapping):
        return entry
    return {**entry, "appInfo": _seal(app_info, cipher, new_iv)}


def _seal(
    app_info: Mapping[str, str], cipher: ValueCipher, new_iv: Callable[[], str]
) -> dict[str, str]:
    made = dict(app_info)
    for name in _SENSITIVE:
        plain = made.pop(name, None)
        if plain is not None and encrypted_length(plain) <= _MAX_ENCRYPTED:
            made[name] = cipher.encrypt(plain, new_iv())
    return made
