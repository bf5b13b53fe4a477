"""sipcli: a softphone whose secrets come after the challenge.

Names are handed out lazily (PEP 562), so that ``import sipcli.credentials``
loads neither asyncio nor ssl, and ``sipcli --help`` loads no provider.
"""

from __future__ import annotations

__version__ = "0.1.0"
