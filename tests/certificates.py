"""Certificates for a replica that speaks https, made for the test and thrown away with it."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def self_signed(folder: Path, host: str = "127.0.0.1") -> Path:
    """A PEM file with a key and its certificate for `host`, which nobody else has signed."""
    return issued(folder, host, chained=False)[1]


def issued(folder: Path, host: str = "127.0.0.1", *, chained: bool = True) -> tuple[Path, Path]:
    """PEM files: the certificate of an issuer, and a key with the certificate that it signed."""
    key, root_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name, root_name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (host, "Example CA")
    )
    root = _certificate(root_name, root_name, root_key, root_key, None)
    if not chained:
        root_name, root_key = name, key
    leaf = _certificate(name, root_name, key, root_key, host)
    bundle, secret = folder / "issuer.pem", folder / "server.pem"
    pem = serialization.Encoding.PEM
    bundle.write_bytes(root.public_bytes(pem))
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(pem, *plain) + leaf.public_bytes(pem))
    return bundle, secret


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    host: str | None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
    )
    if host:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def server_tls(secret: Path) -> ssl.SSLContext:
    """What a replica needs to speak https with a key and certificate of this module."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secret)
    return context
