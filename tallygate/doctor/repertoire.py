"""Which suites of debug cases fit a production address, and which are left out, and why."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from tallygate.doctor.diagnosis import Diagnosis, finding, note
from tallygate.installation import Installation
from tallygate.simulator.clock import Clock
from tallygate.simulator.debug_case import Version
from tallygate.simulator.errors import BadRequest
from tallygate.simulator.kit_cipher import public_part, read_public_key
from tallygate.simulator.kit_suite import KitSuite
from tallygate.simulator.suites import BaseV1, BaseV2, License, Suite

_ABOUT: Final = "debug cases"
KIT: Final = (Version.KIT_V2, Version.KIT_V1)


@dataclass(frozen=True)
class Patient:
    """A production address and what its calls are made with. `licenses`: it sells licences."""

    url: str
    key: str = field(repr=False)
    kit_key: str = field(default="", repr=False)
    public_key: RSAPublicKey | None = field(default=None, repr=False)
    licenses: bool = False
    bits: int = 256  # of V1.0


def chosen(
    patient: Patient, versions: Sequence[Version], clock: Clock
) -> tuple[list[Suite], list[Diagnosis]]:
    """The suites to play; `versions` empty is every one that fits. What is left out is named."""
    suites = list(_suites(patient, versions or tuple(Version), clock))
    left_out = list(_left_out(patient, versions or tuple(Version)))
    return suites, left_out


def _suites(patient: Patient, versions: Sequence[Version], clock: Clock) -> Iterator[Suite]:
    if Version.V2 in versions:
        yield BaseV2(patient.key, clock)
    if Version.V1 in versions:
        yield BaseV1(patient.key, clock, patient.bits, patient.licenses)
    if Version.LICENSE in versions and patient.licenses:
        yield License(patient.key, clock)
    for version in KIT:
        if version in versions and patient.kit_key:
            yield KitSuite(version, patient.kit_key, clock, patient.public_key)


def _left_out(patient: Patient, versions: Sequence[Version]) -> Iterator[Diagnosis]:
    if Version.LICENSE in versions and not patient.licenses:
        yield note(_ABOUT, "License is left out: no product is a licence")
    asked = [version.value for version in KIT if version in versions]
    if asked and not patient.kit_key:
        yield note(_ABOUT, f"{', '.join(asked)} are left out: koogallery.kit_key is not set")
    elif asked and patient.public_key is None:
        text = "applicationSync is left out: koogallery.private_key_file is not set"
        yield note(_ABOUT, text)


def of_installation(installation: Installation, url: str) -> tuple[Patient, list[Diagnosis]]:
    """What the configuration tells; a private key that cannot be used is a finding."""
    settings = installation.config.koogallery
    found: list[Diagnosis] = []
    public_key = None
    if settings.private_key_file is not None:
        try:
            public_key = _read(Path(settings.private_key_file), public_part)
        except BadRequest as wrong:
            found.append(finding("keys", f"koogallery.private_key_file: {wrong}"))
    key = settings.access_key.get_secret_value() if settings.access_key else ""
    same = key if settings.private_key_file is not None else ""  # who has one sells by the Kit
    patient = Patient(
        url=url,
        key=key,
        kit_key=settings.kit_key.get_secret_value() if settings.kit_key else same,
        public_key=public_key,
        licenses=any(each.licence is not None for each in installation.config.products),
        bits=settings.encrypt_bits,
    )
    return patient, found


def public_key_in(path: Path) -> RSAPublicKey:
    """The merchant's public key as the Kit's operator has it. Raises BadRequest."""
    return _read(path, read_public_key)


def _read(path: Path, reader: Callable[[bytes], RSAPublicKey]) -> RSAPublicKey:
    try:
        return reader(path.read_bytes())
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}") from None
