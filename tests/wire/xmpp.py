"""tests/wire/xmpp.py: a client that sees every byte: blocking sockets, TLS in memory, an expat tree per
stanza. For tests of the protocol; nothing is answered, repaired or hidden on the way.

    with Client(server).login('juliet@localhost', 'secret', resource='balcony') as c:
        c.send('<message to="romeo@localhost"><body>Hi</body></message>')
"""
import collections
import hashlib
import itertools
import re
import select
import socket
import threading
import time
import xml.etree.ElementTree as ET

from OpenSSL import SSL, crypto

import sasl
from server import HOST, TIMEOUT, certificate

STREAM, CLIENT = 'http://etherx.jabber.org/streams', 'jabber:client'
TLS = 'urn:ietf:params:xml:ns:xmpp-tls'
SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
BIND = 'urn:ietf:params:xml:ns:xmpp-bind'
SESSION = 'urn:ietf:params:xml:ns:xmpp-session'
STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
STREAMS = 'urn:ietf:params:xml:ns:xmpp-streams'
ROSTER = 'jabber:iq:roster'

ids = itertools.count(1)


def q(ns, name):
    return f'{{{ns}}}{name}'


def name_of(el):
    return el.tag.split('}')[1]


def text_of(el, name, ns=CLIENT):
    child = el.find(q(ns, name))
    return None if child is None else child.text


def stanza_error(el):
    """(type, condition) of an error stanza."""
    error = el.find(q(CLIENT, 'error'))
    assert error is not None, f'no error in {show(el)}'
    found = [c for c in error if c.tag.startswith(q(STANZAS, '')) and name_of(c) != 'text']
    assert len(found) == 1, show(el)
    return error.get('type'), name_of(found[0])


def show(el):
    return el if isinstance(el, str) else ET.tostring(el, encoding='unicode')


class Ended(Exception):
    """The server ended the stream or the connection. condition: its stream error, or None."""

    def __init__(self, condition, how, text=None):
        super().__init__(f'{how}: {condition}')
        self.condition, self.how, self.text = condition, how, text


class Failure(Exception):
    """SASL failure."""

    def __init__(self, condition):
        super().__init__(condition)
        self.condition = condition


class Client:
    def __init__(self, server, host=HOST, timeout=TIMEOUT, address='127.0.0.1', rcvbuf=None):
        self.server, self.host, self.timeout = server, host, timeout
        self.tls = None
        self.tls_lock, self.sending = threading.Lock(), threading.Lock()
        self.received = b''                 # every byte of the XML level since the last header
        self.items = collections.deque()
        self.eof = None
        self.condition = self.condition_text = None
        self.features = None
        self.jid = None
        self.sock = socket.socket()
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect((address, server.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.new_parser()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.abort()

    def abort(self):
        """Without a word."""
        self.sock.close()

    # ---- bytes -----------------------------------------------------------------------------------

    def new_parser(self):
        self.parser = ET.XMLPullParser(events=('start', 'end'))
        self.depth = 0
        self.root = None
        self.received = b''

    def send(self, data):
        if isinstance(data, str):
            data = data.encode('utf-8')
        if self.tls is None:
            self.sock.sendall(data)
            return
        view = memoryview(data)
        while view:                            # a test may send and receive in two threads
            with self.sending:
                with self.tls_lock:
                    view = view[self.tls.send(view[:16384]):]
                    out = self.tls_output()
                self.sock.sendall(out)

    def send_slowly(self, data):
        """Every byte a segment (or TLS record) of its own."""
        for byte in data.encode('utf-8') if isinstance(data, str) else data:
            self.send(bytes([byte]))

    def tls_output(self):
        out = b''
        while True:
            try:
                out += self.tls.bio_read(65536)
            except SSL.WantReadError:
                return out

    def fill(self, deadline):
        """Reads once; False at the deadline. Afterwards something may be in items, or eof is set."""
        left = deadline - time.monotonic()
        if not select.select([self.sock], [], [], max(left, 0))[0]:
            return False
        try:
            data = self.sock.recv(65536)
        except ConnectionError:
            self.eof = 'reset'
            return True
        if not data:
            self.eof = self.eof or 'fin'
            return True
        if self.tls is None:
            self.feed(data)
            return True
        while data:
            with self.tls_lock:
                data = data[self.tls.bio_write(data):]
            while self.decrypt():
                pass
        return True

    def decrypt(self):
        with self.tls_lock:
            try:
                clear = self.tls.recv(65536)
            except SSL.WantReadError:
                return False
            except SSL.ZeroReturnError:
                self.eof = 'close_notify'
                return False
        self.feed(clear)
        return True

    def feed(self, data):
        self.received += data
        self.parser.feed(data)
        for event, el in self.parser.read_events():
            if event == 'start':
                self.depth += 1
                if self.depth == 1:
                    self.root = el
                    self.items.append(('open', el))
                continue
            self.depth -= 1
            if self.depth == 1:
                self.items.append(('element', el))
                self.root.remove(el)
            elif self.depth == 0:
                self.items.append(('close', None))

    def next(self, timeout=None):
        """(kind, element): kind is open, element, close or eof."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not self.items:
            if self.eof:
                return 'eof', None
            if not self.fill(deadline):
                raise AssertionError(f'nothing from the server; last: {self.received[-300:]!r}')
        return self.items.popleft()

    # ---- elements --------------------------------------------------------------------------------

    def element(self, tag=None, timeout=None):
        """The next element; Ended when the stream ends instead."""
        kind, el = self.next(timeout)
        if kind == 'element' and el.tag == q(STREAM, 'error'):
            for child in el:
                if child.tag == q(STREAMS, 'text'):
                    self.condition_text = child.text
                elif child.tag.startswith(q(STREAMS, '')):
                    self.condition = name_of(child)
            self.error_element = el
            return self.element(tag, timeout)
        if kind in ('close', 'eof'):
            raise Ended(self.condition, self.eof if kind == 'eof' else 'close', self.condition_text)
        assert kind == 'element', f'{kind}: {show(el)}'
        if tag is not None:
            assert el.tag == tag, f'{tag} was expected, this came: {show(el)}'
        return el

    def stanza(self, kind, **attributes):
        """The next element is this stanza with at least these attributes."""
        el = self.element(q(CLIENT, kind))
        for key, value in attributes.items():
            key = key.rstrip('_')
            assert el.get(key) == value, f'{key}={value!r} was expected: {show(el)}'
        return el

    def ended(self, timeout=None):
        """The stream error with which the stream ends here; None when there is none."""
        try:
            el = self.element(timeout=timeout)
        except Ended as e:
            return e.condition
        raise AssertionError(f'the stream goes on: {show(el)}')

    def disconnected(self, timeout=None):
        """How the connection ended: fin, close_notify or reset, after whatever else comes."""
        while True:
            kind, _ = self.next(timeout)
            if kind == 'eof':
                return self.eof

    def request(self, xml):
        """Sends an iq with {id} in it and returns the answer, which must be the next element."""
        id_ = f'q{next(ids)}'
        self.send(xml.replace('{id}', id_))
        return self.stanza('iq', id=id_)

    def ask(self, xml):
        """As request, but other stanzas may come first: (those, the answer)."""
        id_ = f'q{next(ids)}'
        self.send(xml.replace('{id}', id_))
        before = []
        while True:
            el = self.element()
            if el.tag == q(CLIENT, 'iq') and el.get('id') == id_ and \
                    el.get('type') in ('result', 'error'):
                return before, el
            before.append(el)

    def sync(self):
        """What came before the answer to a question that nobody can answer."""
        return self.ask(f"<iq type='get' id='{{id}}' to='{self.host}'>"
                        "<fence xmlns='urn:example:fence'/></iq>")[0]

    def silent(self):
        """Asserts that nothing has come, in the order of one stream."""
        came = self.sync()
        assert not came, [show(el) for el in came]

    # ---- the way in ------------------------------------------------------------------------------

    def header(self, to=None, version='1.0', ns=CLIENT, attributes=''):
        to = self.host if to is None else to
        return (f"<?xml version='1.0'?><stream:stream to='{to}' version='{version}' "
                f"xmlns='{ns}' xmlns:stream='{STREAM}' {attributes}>")

    def opened(self):
        kind, el = self.next()
        if kind == 'eof':
            raise Ended(None, self.eof)
        assert kind == 'open' and el.tag == q(STREAM, 'stream'), f'{kind}: {el}'
        return el

    def open(self, **header):
        """Header both ways and the features, which are returned."""
        self.new_parser()
        self.send(self.header(**header))
        self.reply = self.opened()
        self.features = self.element(q(STREAM, 'features'))
        return self.features

    def mechanisms(self):
        return [m.text for m in self.features.iterfind(f'{q(SASL, "mechanisms")}/*')]

    def starttls(self, **options):
        self.send(f"<starttls xmlns='{TLS}'/>")
        self.element(q(TLS, 'proceed'))
        self.handshake(**options)

    def handshake(self, sni=None, alpn=None, version=None, trust=None, session=None):
        """TLS now; sni: a name, '' for none, None for the stream's host; session: to be resumed."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        sni = self.host if sni is None else sni
        context.load_verify_locations(certificate(trust or sni or self.host) + '.crt')
        context.set_verify(SSL.VERIFY_PEER, lambda conn, cert, err, depth, ok: bool(ok))
        if version:
            context.set_max_proto_version(version)
        if alpn:
            context.set_alpn_protos([p.encode('ascii') for p in alpn])
        tls = SSL.Connection(context, None)
        tls.set_connect_state()
        if sni:
            tls.set_tlsext_host_name(sni.encode('ascii'))
        if session:
            tls.set_session(session)
        self.tls = tls
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                tls.do_handshake()
                break
            except SSL.WantReadError:
                self.sock.sendall(self.tls_output())
            if not select.select([self.sock], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise AssertionError('no end of the TLS handshake')
            data = self.sock.recv(65536)
            if not data:
                raise Ended(None, 'fin in the handshake')
            tls.bio_write(data)
        self.sock.sendall(self.tls_output())
        return tls

    def peer_names(self):
        cert = self.tls.get_peer_certificate()
        text = crypto.dump_certificate(crypto.FILETYPE_TEXT, cert).decode('utf-8', 'replace')
        return re.findall(r'DNS:([^\s,]+)', text)

    def binding(self, type_):
        """Channel binding data: RFC 9266, RFC 5929 section 4."""
        if type_ == 'tls-exporter':
            return type_, self.tls.export_keying_material(b'EXPORTER-Channel-Binding', 32,
                                                          b'')
        cert = self.tls.get_peer_certificate()
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, cert)
        return type_, hashlib.sha256(der).digest()

    def secure(self, direct=False, **options):
        """An encrypted stream with its features."""
        if direct:
            self.handshake(alpn=['xmpp-client'], **options)
        else:
            self.open()
            self.starttls(**options)
        return self.open()

    def sasl_answer(self):
        """(kind, data) of the server's next SASL element; Failure is raised."""
        el = self.element()
        assert el.tag.startswith(q(SASL, '')), show(el)
        if name_of(el) == 'failure':
            self.failure = el
            raise Failure(name_of(el[0]))
        text = el.text
        return name_of(el), None if text is None else b'' if text == '=' else sasl.unb64(text)

    def auth_element(self, mechanism, data=None):
        text = '' if data is None else sasl.b64(data) or '='
        return f"<auth xmlns='{SASL}' mechanism='{mechanism}'>{text}</auth>"

    def response(self, data):
        return f"<response xmlns='{SASL}'>{sasl.b64(data) or '='}</response>"

    def authenticate(self, user, password, mechanism='SCRAM-SHA-256', binding='tls-exporter', **how):
        if mechanism == 'PLAIN':
            self.send(self.auth_element('PLAIN', sasl.plain(user, password, **how)))
            kind, _ = self.sasl_answer()
            assert kind == 'success', kind
            return None
        if mechanism.endswith('-PLUS'):
            how['binding'] = self.binding(binding) if isinstance(binding, str) else binding
        scram = sasl.Scram(mechanism, user, password, **how)
        self.send(self.auth_element(mechanism, scram.first()))
        kind, data = self.sasl_answer()
        assert kind == 'challenge', kind
        self.send(self.response(scram.final(data)))
        kind, data = self.sasl_answer()
        assert kind == 'success', kind
        scram.check(data)
        return scram

    def bind(self, resource=None):
        inner = '' if resource is None else f'<resource>{resource}</resource>'
        answer = self.request(f"<iq type='set' id='{{id}}'><bind xmlns='{BIND}'>{inner}</bind></iq>")
        assert answer.get('type') == 'result', show(answer)
        self.jid = answer.findtext(f'{q(BIND, "bind")}/{q(BIND, "jid")}')
        return self.jid

    def authenticated(self, jid, password='secret', mechanism='SCRAM-SHA-256', direct=False, **how):
        """Up to the features behind SASL."""
        user, self.host = jid.split('@')
        self.secure(direct)
        self.authenticate(user, password, mechanism, **how)
        self.open()
        return self

    def login(self, jid, password='secret', resource=None, mechanism='SCRAM-SHA-256', direct=False):
        self.authenticated(jid, password, mechanism, direct)
        self.bind(resource)
        return self

    def close(self):
        """In order: our end, the server's end, then the connection."""
        self.send('</stream:stream>')
        condition = self.ended()
        assert condition is None, condition
        assert self.disconnected() in ('fin', 'close_notify'), self.eof
        self.sock.close()
