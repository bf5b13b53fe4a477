"""The example configuration: what ``config.example.toml`` holds and ``sipcli config init`` writes, word for word."""

from __future__ import annotations

__all__ = ["EXAMPLE"]

EXAMPLE = """\
# sipcli reads this file from --config FILE, $SIPCLI_CONFIG, or its own place (`sipcli config path`).
# It holds no secret: it says who knows the secret.  `sipcli config check` reads it and says what is wrong.

[defaults]
account = "work"                                     # used where --account is not given

[accounts.work]
aor         = "sip:alice@example.com"                # who you are
registrar   = "sip:sbc.example.com;transport=tls"    # default: the domain of the aor, found by DNS
# proxy     = "sip:edge.example.com;lr"              # outbound proxy, if you need one
username    = "alice"                                # for the password; default: the user part of the aor
# display_name = "Alice"
# transport = "tls"                                  # udp | tcp | tls | ws | wss; default: by DNS, or the uri
# ca_file   = "~/pbx-ca.pem"                         # also cert_file and key_file; relative names start at this file
credentials = ["keychain", "prompt"]                 # asked in this order, when the server challenges
expires     = 600                                    # seconds a registration lasts; it is refreshed in time
# register  = false                                  # only place calls
# outbound  = "auto"                                 # true | false: keep one flow to the registrar (RFC 5626)
# gruu      = true                                   # an address that leads to this very phone (RFC 5627)
# shared_auth = false                                # each call and request authenticates by itself
# srtp      = "required"                             # off | optional | required: encrypted audio
# srtp_keys = "dtls"                                 # sdes (over TLS only) | dtls | any: how its keys are agreed on
# call_waiting = false                               # a second call is busy while one is up
# dnd       = true                                   # do not disturb: calls are refused with dnd_code (480, 486, 603)
# 100rel    = "required"                             # off | supported | required: is what rings acknowledged?
# silence   = 20                                     # seconds without audio until we ask if they are there; 0: never
# silence_suppression = true                         # G.711, G.722: comfort noise goes out in place of our silence
# dtmf_mode = "info"                                 # auto | auto_info | info | inband: how digits are sent
# ice       = "optional"                             # off | optional | required | relay: a path through NATs
# stun      = "stun:stun.example.com"
# turn      = "turn:turn.example.com"                # or turns:, or ?transport=tcp
# turn_credentials = ["keychain"]                    # who knows the password of the TURN server

# Another realm of the same account may want another identity:
# [accounts.work.realms."proxy.example.com"]
# username    = "alice.trunk"
# credentials = ["vault"]

# keychain and prompt need no table.  `sipcli auth save work` puts a password into the keychain.

[providers.vault]
type  = "vault"
url   = "https://vault.example.com:8200"
mount = "secret"                                     # kv_version = 1 | 2, default: detected
path  = "voip/{username}"                            # {account} {username} {domain}: from this file
field = "password"
auth  = { method = "approle", role_id = "sipcli", secret_id_file = "~/.config/sipcli/secret-id" }
      # { method = "token", token_file = "..." }
      # { method = "userpass", username = "...", password_file = "..." }
      # { method = "jwt", role = "...", jwt_file = "..." }

[providers.sso]
type      = "oauth"
issuer    = "https://login.example.com"              # metadata by RFC 8414; or token_url, device_url, authorize_url
client_id = "sipcli"
# client_secret_file = "~/.config/sipcli/client"     # confidential clients only
flow      = "device"                                 # client_credentials | device | code
scope     = ["sip"]
use       = "bearer"                                 # bearer (RFC 8898) | password | fetch (password_url)

[providers.container]
type = "file"                                        # "-" is stdin; or type = "env", variable = "SIP_SECRET"
path = "/run/secrets/sip"                            # 0600, or below /run/secrets, or allow_readable = true

[providers.pass]
type    = "exec"                                     # a helper program; or "systemd" (credential), "askpass" (a window)
command = "/usr/local/libexec/sipcli-pass"           # its whole path; a list adds arguments
env     = ["PASSWORD_STORE_DIR"]                     # what else it needs of our environment

[providers.card]
type     = "sim"                                     # Digest AKA, as mobile networks ask for it; needs sipcli[sim]
k_file   = "~/.config/sipcli/sim/k"                  # 32 hex digits, 0600; it signs and is never sent
opc_file = "~/.config/sipcli/sim/opc"                # or op_file
sqn_file = "~/.config/sipcli/sim/sqn"                # sipcli keeps the sequence numbers here

[audio]
# input       = "C920"                               # for --audio device: a part of the name; `sipcli devices` lists
# output      = "Jabra"                              # default: the loudspeaker of input
# echo_cancellation = "required"                     # off | auto | required: take output out of input (sipcli[aec])
tones         = "eu"                                 # eu | uk | us | off: ringing, busy, congestion, call waiting
# ring_device = "built-in"                           # whose loudspeaker rings; default: that of calls
# ring_file   = "~/bell.wav"                         # what it plays; default: the bell of tones

[policy]
# max_wait           = 120                           # seconds a challenge may wait; else 30 (store), 120 (person)
# max_prompts        = 3                             # per account and action
# schemes            = ["bearer", "digest"]          # where a server offers both; else its order decides
# min_algorithm      = "SHA-256"                     # never answer MD5
md5_over_udp         = "warn"                        # warn | allow | refuse
# min_qop            = "auth"                        # none | auth | auth-int: never answer a digest without it
# realms             = ["example.com"]               # answer these realms only
# realm_change       = "ask"                         # refuse | ask | allow: another realm than last time, over TLS
# transfer           = "refuse"                      # refuse | ask | same-domain: they send us elsewhere (REFER)
# redirect           = "ask"                         # refuse | ask | same-domain: our call is answered 3xx
# background_prompts = false                         # may a refresh, hours later, prompt?
"""
