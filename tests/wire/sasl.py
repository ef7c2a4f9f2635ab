"""tests/wire/sasl.py: the client's half of PLAIN and SCRAM (RFC 4616, RFC 5802, RFC 7677), written
from the texts so that the server is compared with them and not with itself."""
import base64
import hashlib
import hmac
import os

HASHES = {'SCRAM-SHA-1': 'sha1', 'SCRAM-SHA-256': 'sha256', 'SCRAM-SHA-512': 'sha512'}


def b64(data):
    return base64.b64encode(data).decode('ascii')


def unb64(text):
    return base64.b64decode(text or '', validate=True)


def plain(user, password, authzid=''):
    return f'{authzid}\0{user}\0{password}'.encode('utf-8')


class Scram:
    """RFC 5802, 3. `binding`: (type, data) for the -PLUS names; `flag`: another gs2 flag."""

    def __init__(self, mechanism, user, password, binding=None, flag=None, authzid=None):
        self.plus = mechanism.endswith('-PLUS')
        self.hash = HASHES[mechanism.removesuffix('-PLUS')]
        self.password = password.encode('utf-8')
        self.nonce = b64(os.urandom(18))
        self.binding = binding[1] if binding and self.plus else b''
        if flag is None:
            flag = f'p={binding[0]}' if self.plus else 'n'
        self.gs2 = f'{flag},{"a=" + authzid if authzid else ""},'
        name = user.replace('=', '=3D').replace(',', '=2C')
        self.bare = f'n={name},r={self.nonce}'
        self.attributes = {}

    def first(self):
        return (self.gs2 + self.bare).encode('utf-8')

    def final(self, challenge):
        """Client-final for server-first; remembers what the server must prove in turn."""
        text = challenge.decode('utf-8')
        self.attributes = dict(part.split('=', 1) for part in text.split(','))
        assert self.attributes['r'].startswith(self.nonce), 'the nonce is not continued'
        assert len(self.attributes['r']) > len(self.nonce) + 15, 'the server adds too little nonce'
        salted = hashlib.pbkdf2_hmac(self.hash, self.password, unb64(self.attributes['s']),
                                     int(self.attributes['i']))
        client_key = self.mac(salted, b'Client Key')
        bound = b64(self.gs2.encode('utf-8') + self.binding)
        bare_final = f'c={bound},r={self.attributes["r"]}'
        auth = ','.join((self.bare, text, bare_final)).encode('utf-8')
        signature = self.mac(hashlib.new(self.hash, client_key).digest(), auth)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.server_signature = self.mac(self.mac(salted, b'Server Key'), auth)
        return f'{bare_final},p={b64(proof)}'.encode('utf-8')

    def check(self, data):
        assert data == b'v=' + b64(self.server_signature).encode('ascii'), 'server not proven'

    def mac(self, key, data):
        return hmac.new(key, data, self.hash).digest()
