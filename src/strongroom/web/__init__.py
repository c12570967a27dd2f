"""The face over HTTP: how things stand, for monitors and scrapers.

It reads only: no request changes anything, and none can ask for anything that is not public.
"""

from strongroom.web.application import web_application
from strongroom.web.server import Address, WebServer, listening, serving

__all__ = ["Address", "WebServer", "listening", "serving", "web_application"]
