"""The telephone that pjsua.py commands: PJSUA2, told by lines on standard input what to do, in a process of its own.

What it prints is read by pjsua.py: ``registered``, ``call N STATE``, ``digit D``, ``message TEXT``, ``transfer CODE``.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from typing import Any

import pjsua2 as pj

RATES = {"pcmu": 8000, "pcma": 8000, "g722": 16000}
TRANSPORTS = {
    ("udp", False): pj.PJSIP_TRANSPORT_UDP,
    ("udp", True): pj.PJSIP_TRANSPORT_UDP6,
    ("tcp", False): pj.PJSIP_TRANSPORT_TCP,
    ("tls", False): pj.PJSIP_TRANSPORT_TLS,
}


def say(*words: object) -> None:
    print(*words, flush=True)


class Call(pj.Call):  # type: ignore[misc]
    """One call; the tone goes into it and what comes out is recorded, whenever its audio changes."""

    def __init__(self, phone: Phone, number: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone, number)
        self.phone = phone
        phone.calls.append(self)

    def onCallState(self, prm: Any) -> None:
        info = self.getInfo()
        say("call", info.id, info.stateText, info.lastStatusCode)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED and self in self.phone.calls:
            self.phone.calls.remove(self)
            self.phone.gone.append(self)  # it may not be deleted in its own callback

    def onCallMediaState(self, prm: Any) -> None:
        info = self.getInfo()  # what is inside lives as long as it does
        for number, media in enumerate(info.media):
            if media.type == pj.PJMEDIA_TYPE_AUDIO and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
                audio = self.getAudioMedia(number)
                self.phone.player.startTransmit(audio)
                audio.startTransmit(self.phone.recorder)
                say("media", info.id)

    def onDtmfDigit(self, prm: Any) -> None:
        say("digit", prm.digit)

    def onCallTransferRequest(self, prm: Any) -> None:
        prm.newCall = Call(self.phone)

    def onCallReplaced(self, prm: Any) -> None:
        prm.newCall = Call(self.phone, prm.newCallId)

    def onCallTransferStatus(self, prm: Any) -> None:
        say("transfer", prm.statusCode)
        if prm.finalNotify and prm.statusCode == 200:  # whom we sent on has arrived
            self.hangup(pj.CallOpParam())


class Phone(pj.Account):  # type: ignore[misc]
    """The account, its calls, and the words it knows."""

    def __init__(self, wishes: argparse.Namespace) -> None:
        super().__init__()
        self.wishes = wishes
        self.calls: list[Call] = []
        self.gone: list[Call] = []
        self.player, self.recorder = pj.AudioMediaPlayer(), pj.AudioMediaRecorder()
        self.buddies: list[pj.Buddy] = []

    def onRegState(self, prm: Any) -> None:
        say("registered" if prm.code == 200 else f"not registered {prm.code}")

    def onIncomingCall(self, prm: Any) -> None:
        told = pj.CallOpParam()
        told.statusCode = 200
        Call(self, prm.callId).answer(told)

    def onInstantMessage(self, prm: Any) -> None:
        say("message", prm.msgBody)

    def obey(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        now = self.calls[-1] if self.calls else None
        plain = pj.CallOpParam(True)
        match verb:
            case "call":
                Call(self).makeCall(rest, plain)
            case "message":
                uri, _, text = rest.partition(" ")
                to, buddy, told = pj.BuddyConfig(), pj.Buddy(), pj.SendInstantMessageParam()
                to.uri, told.content = uri, text
                buddy.create(self, to)
                self.buddies.append(buddy)
                buddy.sendInstantMessage(told)
            case _ if now is None:
                say("there is no call")
            case "bye":
                now.hangup(plain)
            case "hold":
                now.setHold(plain)
            case "resume":
                plain.opt.flag = pj.PJSUA_CALL_UNHOLD
                now.reinvite(plain)
            case "transfer":
                now.xfer(rest, plain)
            case "join":  # the far ends of the first and the last
                self.calls[0].xferReplaces(now, plain)
            case "dtmf":
                now.dialDtmf(rest)
            case _:
                say("what is", verb)

    def configured(self, transport: int) -> pj.AccountConfig:
        w, config = self.wishes, pj.AccountConfig()
        config.idUri = f"sip:{w.user}@sip.test"
        config.regConfig.registrarUri = "sip:sip.test"
        config.sipConfig.proxies.append(f"sip:{w.proxy};transport={w.transport};lr")
        config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "sip.test", w.user, 0, os.environ.pop("SECRET")))
        config.sipConfig.transportId = transport
        media = config.mediaConfig
        media.transportConfig.boundAddress, media.transportConfig.port = w.host, int(w.rtp)
        if ":" in w.host:
            media.ipv6Use = pj.PJSUA_IPV6_ENABLED
        media.srtpSecureSignaling = 0
        if w.encryption != "none":
            media.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
            kind = pj.PJMEDIA_SRTP_KEYING_SDES if w.encryption == "srtp" else pj.PJMEDIA_SRTP_KEYING_DTLS_SRTP
            media.srtpOpt.keyings.append(kind)
        nat = config.natConfig
        nat.iceEnabled = bool(w.stun)
        nat.sipStunUse = pj.PJSUA_STUN_USE_DISABLED
        if not w.stun:
            nat.mediaStunUse = pj.PJSUA_STUN_USE_DISABLED
        return config


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("user", "proxy", "host", "rtp", "transport", "said", "heard", "codec", "encryption"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("stun", "ca"):
        parser.add_argument(f"--{name}")
    wishes = parser.parse_args()

    endpoint, config = pj.Endpoint(), pj.EpConfig()
    endpoint.libCreate()
    config.logConfig.level, config.logConfig.consoleLevel = 5, 4
    config.uaConfig.threadCnt, config.uaConfig.mainThreadOnly = 0, True
    if wishes.stun:
        config.uaConfig.stunServer.append(wishes.stun)
    config.medConfig.clockRate = RATES[wishes.codec]
    config.medConfig.noVad, config.medConfig.ecTailLen = True, 0
    config.medConfig.sndAutoCloseTime = -1  # the null device is the clock of everything
    endpoint.libInit(config)
    where = pj.TransportConfig()
    where.boundAddress = wishes.host
    if wishes.ca:
        where.tlsConfig.CaListFile, where.tlsConfig.verifyServer = wishes.ca, True
    transport = endpoint.transportCreate(TRANSPORTS[wishes.transport, ":" in wishes.host], where)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.lower().startswith(wishes.codec + "/") else 0)

    phone = Phone(wishes)
    phone.player.createPlayer(wishes.said)
    phone.recorder.createRecorder(wishes.heard)
    phone.create(phone.configured(transport))
    while True:
        endpoint.libHandleEvents(10)
        phone.gone.clear()
        if select.select([sys.stdin], [], [], 0)[0]:
            line = sys.stdin.readline().strip()
            if line in ("", "quit"):
                break
            try:
                phone.obey(line)
            except pj.Error as error:
                say("refused:", line, error.reason)
    del phone.recorder, phone.player
    endpoint.libDestroy()


if __name__ == "__main__":
    main()
