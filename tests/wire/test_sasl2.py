"""tests/wire/test_sasl2.py: logging in with one round trip (XEP-0388, 0386, 0440, 0474, 0478, 0480, 0509),
byte by byte."""
import base64
import hashlib
import unittest

from OpenSSL import SSL

import sasl
import tap
from sasl2 import (AGENT, AGENT2, BIND2, IAP, SASL2, Client2, Refused, authenticate, bind,
                   response, user_agent)
from server import Server
from xmpp import BIND, SASL, SESSION, STREAM, name_of, q, show

CB, LIMITS = 'urn:xmpp:sasl-cb:0', 'urn:xmpp:stream-limits:0'
SCRAMS = ('SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-512')
PLAIN = authenticate('PLAIN', sasl.plain('juliet', 'secret'))
PING = "<iq type='get' id='ping' to='localhost'><fence xmlns='urn:example:fence'/></iq>"


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        cls.server.add_user('juliet@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        c = Client2(self.server, **options)
        self.addCleanup(c.abort)
        return c

    def secure(self, **options):
        c = self.client()
        c.secure(**options)
        return c

    def refused(self, c, data):
        c.send(data)
        with self.assertRaises(Refused) as caught:
            el = c.answer()
            self.fail(f'{show(el)} instead of a failure')
        return caught.exception.condition

    def raw(self, c, data, end):
        """The bytes that answer, up to and with `end`."""
        c.received = b''
        c.send(data)
        while end not in c.received:
            c.element()
        c.items.clear()
        return c.received.decode('utf-8')


class Features(Base):
    def test_only_inside_tls(self):
        """XEP-0388, 3."""
        c = self.client()
        c.open()
        self.assertIsNone(c.features.find(q(SASL2, 'authentication')))
        self.assertIsNone(c.features.find(q(IAP, 'config-version')))
        c.send(PLAIN)
        self.assertEqual(c.ended(), 'policy-violation')

    def test_shape(self):
        """XEP-0388, example 2; XEP-0386, 3.1; XEP-0440, example 2."""
        f = self.secure().features
        auth = f.find(q(SASL2, 'authentication'))
        names = [m.text for m in auth.iterfind(q(SASL2, 'mechanism'))]
        self.assertEqual(names, [m.text for m in f.iterfind(f'{q(SASL, "mechanisms")}/*')])
        self.assertIn('SCRAM-SHA-256-PLUS', names)
        inline = auth.find(q(SASL2, 'inline'))
        self.assertIsNotNone(inline.find(q(BIND2, 'bind')))
        types = [b.get('type') for b in f.find(q(CB, 'sasl-channel-binding'))]
        self.assertEqual(types, ['tls-exporter', 'tls-server-end-point'])

    def test_limits(self):
        """XEP-0478; before and after login."""
        c = self.secure()
        limits = c.features.find(q(LIMITS, 'limits'))
        self.assertEqual([(name_of(e), e.text) for e in limits],
                         [('max-bytes', '10000'), ('idle-seconds', '300')])
        c.plain()
        limits = c.features_follow().find(q(LIMITS, 'limits'))
        self.assertEqual([(name_of(e), e.text) for e in limits],
                         [('max-bytes', '262144'), ('idle-seconds', '300')])

    def test_from_of_another_domain(self):
        """XEP-0388, 2.1."""
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        c.send(c.header(attributes="from='juliet@two.example'"))
        c.opened()
        self.assertEqual(c.ended(), 'invalid-from')
        c = self.client()
        c.open()
        c.starttls()
        c.open(attributes="from='juliet@localhost'")

    def test_features_are_stable(self):
        """XEP-0388, 2.1: they may be cached; XEP-0509: so may their version."""
        versions = {self.secure().features.find(q(IAP, 'config-version')).get('value')
                    for _ in range(3)}
        self.assertEqual(len(versions), 1)


class Login(Base):
    def test_scram_as_in_the_text(self):
        """XEP-0388, examples 3, 5 and 7: every mechanism, its success data, no new stream."""
        for mechanism in SCRAMS + tuple(m + '-PLUS' for m in SCRAMS):
            with self.subTest(mechanism):
                c = self.secure()
                el = c.scram(mechanism=mechanism, more=user_agent())
                self.assertEqual([name_of(e) for e in el],
                                 ['additional-data', 'authorization-identifier'])
                self.assertEqual(el[1].text, 'juliet@localhost')
                self.assertIsNotNone(c.features_follow().find(q(BIND, 'bind')))
                self.assertIsNotNone(c.features.find(q(SESSION, 'session')))
                self.assertEqual(c.bind('x'), 'juliet@localhost/x')
                c.silent()

    def test_plain_to_the_byte(self):
        """Example 13: no data, so no element for it."""
        c = self.secure()
        said = self.raw(c, PLAIN, b'</stream:features>')
        self.assertTrue(said.startswith(
            f"<success xmlns='{SASL2}'><authorization-identifier>juliet@localhost"
            "</authorization-identifier></success><stream:features>"), said)

    def test_bind_to_the_byte(self):
        """XEP-0386, example 4; then there is nothing left to bind."""
        c = self.secure()
        said = self.raw(c, authenticate('PLAIN', sasl.plain('juliet', 'secret'),
                                        user_agent() + bind('AwesomeXMPP')),
                        b'</stream:features>')
        self.assertRegex(said, f"^<success xmlns='{SASL2}'><authorization-identifier>"
                         "juliet@localhost/AwesomeXMPP/[0-9a-f]{16}</authorization-identifier>"
                         f"<bound xmlns='{BIND2}'/></success><stream:features>")
        self.assertNotIn(BIND, said)
        c.silent()

    def test_initial_response_left_out(self):
        c = self.secure()
        c.send(authenticate('PLAIN'))
        el = c.answer()
        self.assertEqual((name_of(el), el.text), ('challenge', None))
        c.send(response(sasl.plain('juliet', 'secret')))
        c.succeed()

    def test_white_space_around_data(self):
        """Nobody should send it (2.2); the text's own examples have it."""
        c = self.secure()
        data = sasl.b64(sasl.plain('juliet', 'secret'))
        c.send(f"<authenticate xmlns='{SASL2}' mechanism='PLAIN'>\n  <initial-response>\n    {data}\n"
               "  </initial-response>\n</authenticate>")
        c.succeed()

    def test_direct_tls_and_tls_1_2(self):
        self.secure(direct=True).plain()
        c = self.client()
        c.open()
        c.starttls(version=SSL.TLS1_2_VERSION)
        c.open()
        c.scram()

    def test_many_at_home(self):
        """Accounts of every loop."""
        for i in range(12):
            self.server.add_user(f'user{i}@localhost')
            c = self.secure()
            c.plain(f'user{i}', more=bind())
            self.assertTrue(c.jid.startswith(f'user{i}@localhost/'))
            c.features_follow()
            c.silent()

    def test_the_classic_profile_is_there(self):
        c = self.client().login('juliet@localhost')
        c.silent()

    def test_stanzas_on_the_same_stream(self):
        """The parser goes on behind the header of before, prefixes declared there included."""
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        c.send("<?xml version='1.0'?><s:stream to='localhost' version='1.0' xmlns='jabber:client' "
               f"xmlns:s='{STREAM}' xmlns:two='{SASL2}'>")
        c.opened()
        c.features_follow()
        data = sasl.b64(sasl.plain('juliet', 'secret'))
        c.send(f"<two:authenticate mechanism='PLAIN'><two:initial-response>{data}"
               f"</two:initial-response>{bind()}</two:authenticate>")
        c.succeed()
        c.features_follow()
        c.silent()
        c.send('</s:stream>')
        self.assertIsNone(c.ended())


class Bound(Base):
    options = {'modules': ['roster', 'presence']}

    def test_features_that_are_not_about_binding(self):
        """XEP-0388, 2.6.1: those of the new state; the same as for who binds later."""
        seen = []
        for more in ('', bind()):
            c = self.secure()
            c.plain(more=more)
            seen.append({e.tag for e in c.features_follow()} - {q(BIND, 'bind'), q(SESSION, 'session')})
        self.assertEqual(seen[0], seen[1])
        self.assertIn(q('urn:xmpp:features:pre-approval', 'sub'), seen[1])
        self.assertIn(q('urn:xmpp:features:rosterver', 'ver'), seen[1])


class Pipelined(Base):
    def first_flight(self, more='', behind=''):
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        c.send(c.header(attributes="from='juliet@localhost'") +
               authenticate('PLAIN', sasl.plain('juliet', 'secret'), more) + behind)
        c.opened()
        c.features_follow()
        return c

    def test_everything_at_once(self):
        c = self.first_flight(bind(), PING)
        c.succeed()
        c.features_follow()
        self.assertEqual(c.stanza('iq', id='ping').get('type'), 'error')

    def test_byte_by_byte(self):
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        c.send_slowly(c.header() + authenticate('PLAIN', sasl.plain('juliet', 'secret'), bind()) +
                      PING)
        c.opened()
        c.features_follow()
        c.succeed()
        c.features_follow()
        c.stanza('iq', id='ping')

    def test_a_kilobyte_of_requests_behind(self):
        pings = ''.join(PING.replace("'ping'", f"'p{i}'") for i in range(100))
        c = self.first_flight(bind(), pings)
        c.succeed()
        c.features_follow()
        for i in range(100):
            c.stanza('iq', id=f'p{i}')

    def test_config_version(self):
        """XEP-0509, 2.2: the one of now matches; another is no failed login."""
        known = self.secure().features.find(q(IAP, 'config-version'))
        self.assertEqual(known.get('scheme'), 'opaque')
        element = f"<config-version xmlns='{IAP}' scheme='opaque' value='%s'/>"
        c = self.first_flight(bind() + element % known.get('value'))
        c.succeed()
        c = self.first_flight(bind() + element % 'SSBjaGFuZ2VkIHRoaXMh')
        for _ in range(5):                              # more than auth_retries
            with self.assertRaises(Refused) as caught:
                c.answer()
            self.assertEqual([e.tag for e in caught.exception.element],
                             [q(SASL, 'aborted'), q(IAP, 'config-version-mismatch'),
                              q(SASL2, 'text')])
            c.send(authenticate('PLAIN', sasl.plain('juliet', 'secret'), element % 'wrong'))
        with self.assertRaises(Refused):
            c.answer()
        c.plain(more=element % known.get('value'))

    def test_what_follows_a_failure(self):
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        c.send(c.header() + authenticate('PLAIN', sasl.plain('juliet', 'wrong'), bind()) + PLAIN)
        c.opened()
        c.features_follow()
        with self.assertRaises(Refused):
            c.answer()
        c.succeed()
        self.assertIsNone(c.success.find(q(BIND2, 'bound')))   # that was the other request


class Resources(Base):
    def test_stable(self):
        def resource(tag, agent):
            c = self.secure()
            c.plain(more=(user_agent(agent) if agent else '') + bind(tag))
            return c.jid.split('/', 1)[1]

        one = resource('A', AGENT)
        self.assertEqual(resource('A', AGENT), one)
        self.assertEqual(resource('A', AGENT.upper()), one)
        self.assertNotEqual(resource('A', AGENT2), one)
        self.assertNotEqual(resource('B', AGENT)[1:], one[1:])
        self.assertNotEqual(resource('A', None), resource('A', None))
        self.assertNotIn(AGENT[:8], one)
        self.assertRegex(resource('A', 'not a UUID'), '^A/[a-z0-9]{16}$')

    def test_back_again(self):
        """XEP-0386, 3.2: the earlier session of the client ends, others do not."""
        old, other, new = self.secure(), self.secure(), self.secure()
        for c, agent, tag in ((old, AGENT, 'A'), (other, AGENT2, 'A'), (new, AGENT, 'B')):
            c.plain(more=user_agent(agent) + bind(tag))
            c.features_follow()
        self.assertEqual(old.ended(), 'conflict')
        other.silent()
        new.silent()

    def test_tags(self):
        for tag, want in (('Gajim &amp; co', 'Gajim & co/'), ('\u2603', '\u2603/'), ('x' * 1100, '')):
            c = self.secure()
            c.plain(more=bind(tag))
            self.assertTrue(c.jid.startswith(f'juliet@localhost/{want}'), c.jid)
            c.features_follow()
            c.silent()


class Failures(Base):
    def test_to_the_byte(self):
        """XEP-0388, example 10."""
        c = self.secure()
        c.received = b''
        self.refused(c, authenticate('PLAIN', sasl.plain('juliet', 'wrong'), bind()))
        self.assertEqual(c.received.decode('utf-8'), f"<failure xmlns='{SASL2}'><not-authorized "
                         f"xmlns='{SASL}'/></failure>")

    def test_conditions(self):
        c = self.secure()
        for data, condition in (
                (authenticate('SCRAM-SHA-3', b'x'), 'invalid-mechanism'),
                (f"<authenticate xmlns='{SASL2}'/>", 'invalid-mechanism'),
                (PLAIN.replace('<initial-response>', '<initial-response>!'), 'incorrect-encoding'),
                (authenticate('PLAIN').replace("'/>", "'>").replace(
                    '></authenticate>', '><initial-response>=</initial-response></authenticate>'),
                 'incorrect-encoding'),
                (authenticate('PLAIN', b''), 'malformed-request'),
                (authenticate('PLAIN', b'\0juliet'), 'malformed-request'),
                (authenticate('PLAIN', sasl.plain('juliet', 'secret', 'romeo@localhost')),
                 'invalid-authzid'),
                (authenticate('SCRAM-SHA-256', b'n,,x=y'), 'malformed-request')):
            with self.subTest(data):
                c = self.secure()
                self.assertEqual(self.refused(c, data), condition)
                c.plain()               # stream and session are as before (2.6)

    def test_authzid_and_from(self):
        """2.3 and 4.4: whom the stream is from is whom it asks to be."""
        for from_, ok in (('juliet@localhost', True), ('romeo@localhost', False)):
            c = self.client()
            c.open()
            c.starttls()
            c.open(attributes=f"from='{from_}'")
            data = authenticate('PLAIN', sasl.plain('juliet', 'secret', 'juliet@localhost'))
            if ok:
                c.send(data)
                c.succeed()
            else:
                self.assertEqual(self.refused(c, data), 'invalid-authzid')
                c.plain()               # nothing asked for: the name that it proves

    def test_from_before_tls(self):
        """RFC 6120, 5.4.3.3: what was said in clear, by whomever, is forgotten."""
        c = self.client()
        c.open(attributes="from='romeo@localhost'")
        c.starttls()
        c.open(attributes="from='juliet@localhost'")
        c.send(authenticate('PLAIN', sasl.plain('juliet', 'secret', 'juliet@localhost')))
        c.succeed()

    def test_abort(self):
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        c.send(authenticate('SCRAM-SHA-256', scram.first()))
        c.answer()
        self.assertEqual(self.refused(c, f"<abort xmlns='{SASL2}'><text>no</text></abort>"), 'aborted')
        c.plain()

    def test_anything_else_during_an_exchange(self):
        """2.4."""
        for other in (PING, PLAIN, f"<auth xmlns='{SASL}' mechanism='PLAIN'>AA==</auth>",
                      f"<response xmlns='{SASL}'>AA==</response>", f"<next xmlns='{SASL2}' task='x'/>",
                      '<presence/>'):
            with self.subTest(other):
                c = self.secure()
                c.send(authenticate('SCRAM-SHA-256',
                                    sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret').first()))
                c.answer()
                c.send(other)
                self.assertEqual(c.ended(), 'policy-violation')

    def test_out_of_turn(self):
        for data in (response(b'x'), f"<abort xmlns='{SASL2}'/>", f"<task-data xmlns='{SASL2}'/>"):
            c = self.secure()
            c.send(data)
            self.assertEqual(c.ended(), 'policy-violation')

    def test_again_after_success(self):
        """4.8: a stream error, bound or not."""
        for more in ('', bind()):
            c = self.secure()
            c.plain(more=more)
            c.features_follow()
            c.send(PLAIN)
            self.assertEqual(c.ended(), 'unsupported-stanza-type')

    def test_oversized(self):
        c = self.secure()
        c.send(authenticate('PLAIN', b'x' * 20000))
        self.assertEqual(c.ended(), 'policy-violation')

    def test_retries_are_bounded(self):
        c = self.secure()
        for _ in range(3):
            self.refused(c, authenticate('PLAIN', sasl.plain('juliet', 'wrong')))
        self.assertEqual(c.ended(), 'policy-violation')
        c = self.secure()
        for _ in range(12):
            self.refused(c, authenticate('X', b''))
        self.assertEqual(c.ended(), 'policy-violation')

    def test_unknown_users_look_alike(self):
        c = self.secure()
        self.assertEqual(self.refused(c, authenticate('PLAIN', sasl.plain('nobody', 'x'))),
                         'not-authorized')

    def test_connection_lost_in_the_middle(self):
        for data in (authenticate('SCRAM-SHA-256', b'n,,n=juliet,r=abc'),
                     authenticate('PLAIN', sasl.plain('juliet', 'secret'), bind())):
            for _ in range(5):
                c = self.secure()
                c.send(data)
                c.abort()
        c = self.secure()
        c.plain(more=bind())


class Downgrade(Base):
    """XEP-0474, 6.1: what was advertised, as the client saw it, in both profiles."""

    def expected(self, c, mechanisms, hash_='sha256', types=None):
        s = '\x1e'.join(sorted(mechanisms))
        if types is None:
            types = [b.get('type') for b in c.features.find(q(CB, 'sasl-channel-binding'))]
        s += '\x1f' + '\x1e'.join(sorted(types))
        return base64.b64encode(hashlib.new(hash_, s.encode('ascii')).digest()).decode('ascii')

    def mechanisms2(self, c):
        return [m.text for m in c.features.iterfind(
            f'{q(SASL2, "authentication")}/{q(SASL2, "mechanism")}')]

    def test_both_profiles(self):
        for name, hash_ in (('SCRAM-SHA-1', 'sha1'), ('SCRAM-SHA-256-PLUS', 'sha256'),
                            ('SCRAM-SHA-512', 'sha512')):
            c = self.secure()
            c.scram(mechanism=name)
            self.assertEqual(c.exchange.attributes['h'],
                             self.expected(c, self.mechanisms2(c), hash_))
            c = self.secure()
            scram = c.authenticate('juliet', 'secret', name)
            self.assertEqual(scram.attributes['h'], self.expected(c, c.mechanisms(), hash_))

    def test_who_took_something_out(self):
        """A client that saw less than was sent finds another hash; and nobody can put in the hash of
        what it saw, because the proof covers it."""
        c = self.secure()
        names = [m for m in self.mechanisms2(c) if 'SHA-256' not in m and 'SHA-512' not in m]
        c.scram(mechanism='SCRAM-SHA-1')
        self.assertNotEqual(c.exchange.attributes['h'], self.expected(c, names, 'sha1'))
        self.assertNotEqual(c.exchange.attributes['h'],
                            self.expected(c, self.mechanisms2(c), 'sha1', ['x']))
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-1', 'juliet', 'secret')
        c.send(authenticate('SCRAM-SHA-1', scram.first()))
        challenge = sasl.unb64(c.answer().text).decode('ascii')
        before, _, _ = challenge.rpartition(',h=')
        forged = f'{before},h={self.expected(c, names, "sha1")}'
        self.assertEqual(self.refused(c, response(scram.final(forged.encode('ascii')))),
                         'not-authorized')

    def test_without_bindings(self):
        """No -PLUS, so no XEP-0440 feature, and nothing of it in the hash."""
        server = Server(host={'sasl_disable': 'SCRAM-SHA-1-PLUS, SCRAM-SHA-256-PLUS, '
                                              'SCRAM-SHA-512-PLUS'}).start()
        self.addCleanup(server.stop)
        server.add_user('juliet@localhost')
        c = Client2(server)
        self.addCleanup(c.abort)
        c.secure()
        self.assertIsNone(c.features.find(q(CB, 'sasl-channel-binding')))
        c.scram(mechanism='SCRAM-SHA-256')
        s = '\x1e'.join(sorted(self.mechanisms2(c)))
        self.assertEqual(c.exchange.attributes['h'], base64.b64encode(
            hashlib.sha256(s.encode('ascii')).digest()).decode('ascii'))


class Switches(unittest.TestCase):
    def start(self, **host):
        server = Server(host=host).start()
        self.addCleanup(server.stop)
        server.add_user('juliet@localhost')
        c = Client2(server)
        self.addCleanup(c.abort)
        c.secure()
        return c

    def test_never(self):
        c = self.start(sasl2='never')
        self.assertIsNone(c.features.find(q(SASL2, 'authentication')))
        self.assertIsNone(c.features.find(q(IAP, 'config-version')))
        c.send(PLAIN)
        self.assertEqual(c.ended(), 'unsupported-stanza-type')

    def test_nothing_to_log_in_with(self):
        """XEP-0388, 2.1: without a mechanism it is not offered."""
        c = self.start(plain='never', sasl_disable=', '.join(
            [*SCRAMS, *(m + '-PLUS' for m in SCRAMS)]))
        self.assertIsNone(c.features.find(q(SASL2, 'authentication')))


if __name__ == '__main__':
    tap.main()
