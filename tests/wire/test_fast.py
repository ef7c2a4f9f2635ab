"""tests/wire/test_fast.py: logging in with tokens (XEP-0484) over real TLS: every binding, replays, rotation,
revocation, a restart, a full disk. Virtual time and the bounds are in tests/mod/test_fast.c."""
import os
import unittest

from OpenSSL import SSL

import sasl
import tap
from sasl2 import (AGENT, AGENT2, BIND2, FAST, SASL2, Client2, Refused, authenticate, bind, ht,
                   user_agent)
from server import Server
from xmpp import name_of, q

REQUEST = f"<request-token xmlns='{FAST}' mechanism='%s'/>"
EXPR, ENDP, UNIQ, NONE = (f'HT-SHA-256-{b}' for b in ('EXPR', 'ENDP', 'UNIQ', 'NONE'))


class Base(unittest.TestCase):
    options = {}

    def setUp(self):
        self.server = Server(modules=['fast'], **self.options).start()
        self.addCleanup(lambda: self.server.stop())
        self.server.add_user('juliet@localhost')

    def client(self, version=None):
        c = Client2(self.server)
        self.addCleanup(c.abort)
        c.open()
        c.starttls(version=version)
        c.open(attributes="from='juliet@localhost'")
        return c

    def get(self, mechanism=EXPR, agent=AGENT, version=None, **how):
        """A token, by the password."""
        c = self.client(version)
        c.plain(more=user_agent(agent) + bind('A') + REQUEST % mechanism, **how)
        return None if c.token is None else c.token.get('token')

    def use(self, token, version=None, **how):
        c = self.client(version)
        c.fast(token, **how)
        return c

    def refused(self, token, version=None, **how):
        c = self.client(version)
        with self.assertRaises(Refused) as caught:
            c.fast(token, **how)
        return caught.exception.condition


class Mechanisms(Base):
    def offered(self, c):
        return [m.text for m in c.features.iterfind(
            f'{q(SASL2, "authentication")}/{q(SASL2, "inline")}/{q(FAST, "fast")}/*')]

    def test_offers(self):
        c = self.client()
        self.assertEqual(self.offered(c), [EXPR, ENDP, NONE])
        self.assertNotIn(EXPR, c.mechanisms())
        self.assertIsNone(c.features.find('.//' + q(FAST, 'fast')).get('tls-0rtt'))
        self.assertEqual(self.offered(self.client(SSL.TLS1_2_VERSION)), [EXPR, UNIQ, ENDP, NONE])

    def test_every_binding(self):
        for version, names in ((SSL.TLS1_3_VERSION, (EXPR, ENDP, NONE)),
                               (SSL.TLS1_2_VERSION, (EXPR, UNIQ, ENDP, NONE))):
            for name in names:
                with self.subTest(f'{version} {name}'):
                    token = self.get(name, version=version)
                    c = self.use(token, version, mechanism=name, more=bind('A'))
                    self.assertEqual([name_of(e) for e in c.success],
                                     ['additional-data', 'authorization-identifier', 'bound'])
                    c.features_follow()
                    c.silent()

    def test_uniq_is_nothing_for_tls_1_3(self):
        token = self.get(UNIQ, version=SSL.TLS1_2_VERSION)
        self.assertEqual(self.refused(token, mechanism=UNIQ), 'invalid-mechanism')

    def test_bound_to_this_connection(self):
        token = self.get()
        other = self.client()
        self.assertEqual(self.refused(token, binding=other.binding('tls-exporter')[1]),
                         'not-authorized')
        self.assertEqual(self.refused(token, binding=b''), 'not-authorized')
        self.use(token)

    def test_bound_to_its_mechanism(self):
        """3.4: not to be talked down to one without binding."""
        token = self.get(EXPR)
        self.assertEqual(self.refused(token, mechanism=NONE), 'not-authorized')
        self.assertEqual(self.refused(token, mechanism=ENDP), 'not-authorized')
        self.use(token)

    def test_switched_off(self):
        self.server.set('host localhost', sasl_disable=NONE)
        self.server.ctl_ok('reload')
        self.assertEqual(self.offered(self.client()), [EXPR, ENDP])

    def test_not_for_the_classic_profile(self):
        c = self.client()
        c.send(c.auth_element(EXPR, ht('juliet', 'x')[0]))
        self.assertEqual(name_of(c.element()[0]), 'invalid-mechanism')


class Tokens(Base):
    def test_as_in_the_text(self):
        """Examples 2 to 4."""
        c = self.client()
        c.scram(more=user_agent() + bind('AwesomeXMPP') + REQUEST % EXPR)
        c = self.client()
        c.send(authenticate('PLAIN', sasl.plain('juliet', 'secret'),
                            bind('AwesomeXMPP') + user_agent() + REQUEST % EXPR))
        el = c.succeed()
        self.assertEqual({name_of(e) for e in el}, {'authorization-identifier', 'bound', 'token'})
        self.assertRegex(c.token.get('expiry'), r'^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$')
        self.assertGreaterEqual(len(c.token.get('token')), 43)  # 256 bits
        jid = c.jid
        c = self.use(c.token.get('token'), more=bind('AwesomeXMPP'), attributes="count='123'")
        self.assertIsNone(c.token)
        self.assertEqual(c.jid, jid)
        c.features_follow()
        c.silent()

    def test_one_round_trip_from_the_header(self):
        """Everything in the first flight behind the handshake."""
        token = self.get()
        c = Client2(self.server)
        self.addCleanup(c.abort)
        c.handshake(alpn=['xmpp-client'])
        c.new_parser()
        c.send(c.header(attributes="from='juliet@localhost'") +
               c.fast_element(token, more=bind('A')) + "<presence/>")
        c.opened()
        c.features_follow()
        c.succeed()
        self.assertIsNotNone(c.success.find(q(BIND2, 'bound')))
        c.features_follow()
        c.silent()

    def test_replay(self):
        token = self.get()
        self.use(token, attributes="count='1'")
        self.assertEqual(self.refused(token, attributes="count='1'"), 'not-authorized')
        self.assertEqual(self.refused(token, attributes="count='0'"), 'not-authorized')
        self.use(token, attributes="count='2'")

    def test_after_a_restart(self):
        token = self.get()
        self.use(token, attributes="count='7'")
        self.server.restart()
        self.assertEqual(self.refused(token, attributes="count='7'"), 'not-authorized')
        self.use(token, attributes="count='8'")

    def test_who_has_no_id(self):
        self.assertIsNone(self.get(agent=None))
        token = self.get()
        self.assertEqual(self.refused(token, agent=None), 'malformed-request')
        self.assertEqual(self.refused(token, agent=AGENT2), 'not-authorized')
        self.use(token, agent=AGENT.upper())

    def test_wrong_and_malformed(self):
        token = self.get()
        for data, condition in ((b'', 'malformed-request'), (b'juliet', 'malformed-request'),
                                (b'juliet\0short', 'malformed-request'),
                                (b'\0' + bytes(32), 'malformed-request'),
                                (b'juliet\0' + bytes(33), 'malformed-request'),
                                (b'\xff\0' + bytes(32), 'malformed-request'),
                                (b'a@b\0' + bytes(32), 'not-authorized'),
                                (b'juliet\0' + bytes(32), 'not-authorized'),
                                (b'nobody\0' + bytes(32), 'not-authorized')):
            c = self.client()
            c.send(authenticate(EXPR, data, user_agent() + f"<fast xmlns='{FAST}'/>"))
            with self.assertRaises(Refused) as caught:
                c.answer()
            self.assertEqual(caught.exception.condition, condition, data)
            c.plain()                   # 4.1: another mechanism, on the same stream
        self.use(token)

    def test_failures_are_bounded(self):
        c = self.client()
        for _ in range(3):
            with self.assertRaises(Refused):
                c.fast('wrong')
        self.assertEqual(c.ended(), 'policy-violation')

    def test_invalidate(self):
        """3.6."""
        token = self.get()
        c = self.use(token, attributes="invalidate='true'", more=bind('A'))
        self.assertIsNone(c.token)
        c.features_follow()
        c.silent()                      # it may go on
        self.assertEqual(self.refused(token), 'not-authorized')

    def test_invalidate_and_request(self):
        token = self.get()
        c = self.use(token, attributes="invalidate='true'", more=REQUEST % EXPR)
        self.assertEqual(self.refused(token), 'not-authorized')
        self.use(c.token.get('token'))


class Rotation(Base):
    def setUp(self):
        super().setUp()
        self.server.set('mod_fast', token_rotation='1s', token_lifetime='1m')
        self.server.ctl_ok('reload')

    def test_rotated(self):
        """3.5: once it has had its time; waits for the clock, which is the server's."""
        token = self.get()
        while True:
            c = self.use(token)
            if c.token is not None:
                break
        fresh = c.token.get('token')
        self.assertNotEqual(fresh, token)
        self.use(token)                 # until the new one is used
        c = self.use(token)
        fresh = c.token.get('token')
        self.use(fresh)
        self.assertEqual(self.refused(token), 'not-authorized')


class TakenBack(Base):
    def test_by_password(self):
        token = self.get()
        self.server.ctl_ok('user', 'password', 'juliet@localhost', '--password-stdin',
                           text='other\n')
        self.assertEqual(self.refused(token), 'not-authorized')

    def test_by_removal(self):
        token = self.get()
        self.server.ctl_ok('user', 'delete', 'juliet@localhost')
        self.assertEqual(self.refused(token), 'not-authorized')
        self.server.add_user('juliet@localhost')
        self.assertEqual(self.refused(token), 'not-authorized')

    def test_by_the_admin(self):
        one, two = self.get(), self.get(agent=AGENT2)
        rows = self.server.ctl_json('user', 'tokens', 'juliet@localhost')
        self.assertEqual({r['client'] for r in rows}, {AGENT, AGENT2})
        self.assertEqual(rows[0]['software'], 'AwesomeXMPP')
        self.assertEqual(rows[0]['device'], "Kiva's Phone")
        self.server.ctl_ok('user', 'tokens', 'revoke', 'juliet@localhost', AGENT)
        self.assertEqual(self.refused(one), 'not-authorized')
        self.use(two, agent=AGENT2)
        self.server.ctl_ok('user', 'tokens', 'revoke', 'juliet@localhost')
        self.assertEqual(self.refused(two, agent=AGENT2), 'not-authorized')

    def test_by_a_new_secret(self):
        """What is in the store is not enough to log in."""
        token = self.get()
        self.server.stop()
        os.unlink(f'{self.server.data}/secret')
        self.server.start()
        self.assertEqual(self.refused(token), 'not-authorized')


if __name__ == '__main__':
    tap.main()
