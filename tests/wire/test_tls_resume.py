"""tests/wire/test_tls_resume.py: TLS sessions that go on (RFC 8446, 2.2): who gets a ticket, what it is good for,
and logging in over one. Keys that age and tickets that are damaged are in tests/unit/test_tls_ticket.c."""
import os
import unittest

from OpenSSL import SSL

import tap
from sasl2 import AGENT, FAST, Client2, bind, user_agent
from server import HOST, HOST2, Server, certificate
from xmpp import name_of, q

SM = 'urn:xmpp:sm:3'
EXPR, ENDP = 'HT-SHA-256-EXPR', 'HT-SHA-256-ENDP'


def resumed(client):
    return bool(SSL._lib.SSL_session_reused(client.tls._ssl))


class Base(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=['fast', 'stream_management']).start()
        self.addCleanup(lambda: self.server.stop())
        self.server.add_user('juliet@localhost')
        self.server.add_user(f'juliet@{HOST2}')

    def client(self, session=None, host=HOST, version=None, direct=False):
        c = Client2(self.server, host=host)
        self.addCleanup(c.abort)
        if direct:
            c.handshake(session=session, version=version)
        else:
            c.open()
            c.starttls(session=session, version=version)
        c.open(attributes=f"from='juliet@{host}'")
        return c

    def with_token(self, mechanism=EXPR, **how):
        """(client, its token)"""
        c = self.client(**how)
        c.plain(more=user_agent(AGENT) + bind('A') +
                f"<request-token xmlns='{FAST}' mechanism='{mechanism}'/>")
        c.features_follow()
        c.silent()
        return c, c.token.get('token')

    def session(self, **how):
        c, _ = self.with_token(**how)
        return c.tls.get_session()

    def goes_on(self, session, **how):
        c = self.client(session, **how)
        c.plain(more=bind('B'))
        return resumed(c)


class Tickets(Base):
    def test_for_who_gets_a_token(self):
        session = self.session()
        for direct in (False, True):
            c = self.client(session, direct=direct)
            self.assertTrue(resumed(c))
            c.plain(more=bind('B'))
            c.features_follow()
            c.silent()

    def test_for_who_uses_one(self):
        first, token = self.with_token()
        again = self.client()
        again.fast(token, more=bind('A'))
        again.features_follow()
        again.silent()
        self.assertTrue(self.goes_on(again.tls.get_session()))
        self.assertFalse(resumed(first) or resumed(again))

    def test_for_a_session_that_can_be_resumed(self):
        c = self.client()
        c.authenticate('juliet', 'secret')
        c.open()
        c.bind('A')
        c.send(f"<enable xmlns='{SM}' resume='true'/>")
        self.assertEqual(name_of(c.element()), 'enabled')
        c.sync()
        self.assertTrue(self.goes_on(c.tls.get_session()))

    def test_for_nobody_else(self):
        c = self.client()
        c.plain(more=bind('A'))
        c.features_follow()
        c.silent()
        self.assertFalse(self.goes_on(c.tls.get_session()))

    def test_not_in_tls_1_2(self):
        session = self.session(version=SSL.TLS1_2_VERSION)
        self.assertFalse(self.goes_on(session, version=SSL.TLS1_2_VERSION))
        self.assertFalse(self.goes_on(self.session(), version=SSL.TLS1_2_VERSION))


class Scope(Base):
    def test_of_another_host(self):
        session = self.session()
        self.assertFalse(self.goes_on(session, host=HOST2))
        self.assertTrue(self.goes_on(self.session(host=HOST2), host=HOST2))

    def test_over_a_reload(self):
        session = self.session()
        self.server.ctl_ok('reload')
        self.assertTrue(self.goes_on(session))

    def test_not_over_a_new_certificate(self):
        old = certificate(HOST2)
        files = [old, old + '.crt', old + '.key']
        session = self.session(host=HOST2)
        for f in files:
            os.rename(f, f + '.old')
        try:
            certificate(HOST2)
            self.server.ctl_ok('reload')
            self.assertFalse(self.goes_on(session, host=HOST2))
            self.assertTrue(self.goes_on(self.session(host=HOST2), host=HOST2))
        finally:
            for f in files:
                os.rename(f + '.old', f)

    def test_not_over_a_restart(self):
        session = self.session()
        self.server.stop()
        self.server.start()
        self.assertFalse(self.goes_on(session))

    def test_switched_off_and_on(self):
        session = self.session()
        self.server.set('server', tls_tickets='no')
        self.server.ctl_ok('reload')
        self.assertFalse(self.goes_on(session))
        none = self.session()
        self.server.set('server', tls_tickets='yes')
        self.server.ctl_ok('reload')
        self.assertFalse(self.goes_on(none))
        self.assertTrue(self.goes_on(self.session()))


class ChannelBinding(Base):
    def test_tokens(self):
        for mechanism in (EXPR, ENDP):
            with self.subTest(mechanism):
                first, token = self.with_token(mechanism)
                session = first.tls.get_session()
                for _ in range(2):
                    c = self.client(session)
                    self.assertTrue(resumed(c))
                    c.fast(token, mechanism=mechanism, more=bind('A'))
                    c.features_follow()
                    c.silent()
                    session = c.tls.get_session()

    def test_passwords(self):
        session = self.session()
        for binding in ('tls-exporter', 'tls-server-end-point'):
            with self.subTest(binding):
                c = self.client(session)
                self.assertTrue(resumed(c))
                c.scram(binding=binding, more=bind('A'))

    def test_of_this_connection(self):
        """The exporter's value of the session before is of no use."""
        first, token = self.with_token()
        c = self.client(first.tls.get_session())
        self.assertTrue(resumed(c))
        c.send(c.fast_element(token, binding=first.binding('tls-exporter')[1]))
        self.assertEqual(name_of(c.element()[0]), 'not-authorized')

    def test_everything_resumed(self):
        """TLS, login and session (XEP-0198, 9) in one flight behind the handshake."""
        c = self.client()
        c.plain(more=user_agent(AGENT) + bind('A', f"<enable xmlns='{SM}' resume='true'/>") +
                f"<request-token xmlns='{FAST}' mechanism='{EXPR}'/>")
        c.features_follow()
        token = c.token.get('token')
        old = c.success.find(f'.//{q(SM, "enabled")}').get('id')
        c.sync()
        c.abort()
        again = Client2(self.server)
        self.addCleanup(again.abort)
        again.handshake(session=c.tls.get_session())
        self.assertTrue(resumed(again))
        again.new_parser()
        again.send(again.header(attributes="from='juliet@localhost'") +
                   again.fast_element(token, more=f"<resume xmlns='{SM}' h='0' previd='{old}'/>"))
        again.opened()
        again.features_follow()
        again.succeed()
        self.assertEqual(again.success.find(q(SM, 'resumed')).get('previd'), old)


if __name__ == '__main__':
    tap.main()
