"""tests/crash/client.py: the client of tests/wire without TLS and with PLAIN, so that the load is
the server's work and not ours, and the few questions that the crash tests ask."""
import os
import select
import socket
import struct
import threading
import time
from xml.sax.saxutils import escape

from xmpp import CLIENT, ROSTER, STREAM, Client, Ended, name_of, q, stanza_error

BARRIER = 'urn:grapnel:test:barrier'
DELAY = 'urn:xmpp:delay'
VCARD = 'vcard-temp'
PRIVATE = 'jabber:iq:private'
REGISTER = 'jabber:iq:register'

GONE = (Ended, OSError)                 # how a connection ends when the server is killed


class Refused(Exception):
    """An iq was answered with an error."""


class Cut:
    """A network that breaks at one instant, for every connection that was made in its time. Whoever
    is sending gets half of it out, and of those who wait every second one begins a stanza."""

    def __init__(self):
        self.done = threading.Event()
        self.wake, self.waker = os.pipe()

    def now(self):
        self.done.set()
        os.write(self.waker, b'!')      # stays there: everybody who waits sees it

    def close(self):
        os.close(self.wake)
        os.close(self.waker)


class Link(Client):
    session_count = 0

    def __init__(self, server, **how):
        super().__init__(server, **how)
        self.cut = getattr(server, 'cut', None)
        self.session = 0

    def feed(self, data):
        super().feed(data)
        self.received = b''             # a long stay would copy it again and again

    def fill(self, deadline):
        if self.eof or self.cut is None:
            return super().fill(deadline)
        ready = select.select([self.sock, self.cut.wake], [], [],
                              max(deadline - time.monotonic(), 0))[0]
        if self.cut.wake in ready:
            if self.session % 2:
                super().send("<message type='chat' to='half@a.stanza'><bo")
            self.reset()
            return True
        return bool(ready) and super().fill(deadline)

    def send(self, data):
        if self.eof == 'cut':
            raise Ended(None, 'cut')
        try:
            if self.cut is not None and self.cut.done.is_set():
                super().send(data[:len(data) // 2])
                self.reset()
                raise Ended(None, 'cut')
            super().send(data)
        except OSError:
            pass                        # what can still be read tells why

    def log_in(self, user, password='secret'):
        """Up to the features behind SASL."""
        Link.session_count += 1
        self.session = Link.session_count
        self.open()
        self.authenticate(user, password, 'PLAIN')
        self.open()
        return self

    def enter(self, user, resource='r', password='secret'):
        self.log_in(user, password).bind(resource)
        return self

    def result(self, xml):
        """The answer to an iq; Refused when it is an error. What came before it is in `before`."""
        self.before, answer = self.ask(xml)
        if answer.get('type') == 'error':
            raise Refused(stanza_error(answer)[1])
        return answer

    def barrier(self):
        """Everything sent before has been handled."""
        self.result(f"<iq type='get' id='{{id}}'><barrier xmlns='{BARRIER}'/></iq>")

    def collect(self, deadline):
        """Elements as they come, until the deadline or the end."""
        while True:
            while self.items:
                kind, el = self.items.popleft()
                if kind == 'element' and el.tag == q(STREAM, 'error'):
                    self.condition = name_of(el[0])
                elif kind == 'element':
                    yield el
            if self.eof or not self.fill(deadline):
                return

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Away at once, whatever has not been read."""
        self.eof = 'cut'
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.sock.close()

    # ---- roster ----------------------------------------------------------------------------------

    def roster_set(self, jid, name, groups):
        inner = ''.join(f'<group>{escape(g)}</group>' for g in groups)
        self.result(f"<iq type='set' id='{{id}}'><query xmlns='{ROSTER}'>"
                    f"<item jid='{jid}' name='{name}'>{inner}</item></query></iq>")

    def roster_remove(self, jid):
        self.result(f"<iq type='set' id='{{id}}'><query xmlns='{ROSTER}'>"
                    f"<item jid='{jid}' subscription='remove'/></query></iq>")

    def roster(self):
        """jid -> (name, groups, ask)"""
        answer = self.result(f"<iq type='get' id='{{id}}'><query xmlns='{ROSTER}'/></iq>")
        items = answer.find(q(ROSTER, 'query'))
        return {item.get('jid'): (item.get('name'),
                                  tuple(sorted(g.text for g in item.findall(q(ROSTER, 'group')))),
                                  item.get('ask')) for item in items}

    # ---- vCard, private XML ----------------------------------------------------------------------

    def vcard_set(self, text):
        self.result(f"<iq type='set' id='{{id}}'><vCard xmlns='{VCARD}'>"
                    f'<FN>{escape(text)}</FN></vCard></iq>')

    def vcard(self):
        """The full name; None without a vCard (XEP-0054, 3.1: an empty one or an error)."""
        try:
            answer = self.result(f"<iq type='get' id='{{id}}'><vCard xmlns='{VCARD}'/></iq>")
        except Refused as e:
            if str(e) not in ('item-not-found', 'service-unavailable'):
                raise
            return None
        card = answer.find(q(VCARD, 'vCard'))
        return card.findtext(q(VCARD, 'FN')) if card is not None else None

    def private_set(self, ns, text):
        self.result(f"<iq type='set' id='{{id}}'><query xmlns='{PRIVATE}'>"
                    f"<note xmlns='{ns}'>{escape(text)}</note></query></iq>")

    def private(self, ns):
        answer = self.result(f"<iq type='get' id='{{id}}'><query xmlns='{PRIVATE}'>"
                             f"<note xmlns='{ns}'/></query></iq>")
        return answer.findtext(f'{q(PRIVATE, "query")}/{q(ns, "note")}') or None

    # ---- accounts --------------------------------------------------------------------------------

    def register(self, user, password):
        """XEP-0077, 3.1, before login."""
        self.result(f"<iq type='set' id='{{id}}' to='{self.host}'><query xmlns='{REGISTER}'>"
                    f'<username>{user}</username><password>{password}</password></query></iq>')


def is_message(el):
    return el.tag == q(CLIENT, 'message')


def message_parts(el):
    """id, body, whether it comes from the store (XEP-0203)"""
    return el.get('id'), el.findtext(q(CLIENT, 'body')), el.find(q(DELAY, 'delay')) is not None
