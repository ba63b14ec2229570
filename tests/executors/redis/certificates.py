"""Certificates for tests of TLS, each its own authority, made when they are asked for."""

import functools
import ssl
import subprocess
import tempfile
from pathlib import Path


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="flows-tls-")


@functools.cache
def certificate(host: str) -> tuple[Path, Path]:
    """The files of a certificate for *host*, and of its key."""
    cert, key = Path(_folder().name, f"{host}.pem"), Path(_folder().name, f"{host}.key")
    names = f"DNS:{host},IP:127.0.0.1" if host == "localhost" else f"DNS:{host}"
    made_of = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2"]
    names_it = ["-subj", f"/CN={host}", "-addext", f"subjectAltName={names}"]
    subprocess.run(
        ["openssl", *made_of, *names_it, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True
    )
    return cert, key


def server_side(host: str = "localhost", *, asks_for: Path | None = None) -> ssl.SSLContext:
    """TLS as a server of that name speaks it, which wants a certificate of its clients if *asks_for* names one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(host))
    if asks_for is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(asks_for)
    return context
