"""tests/wire/test_bind.py: resource binding on the wire (RFC 6120, 7): resources given, generated and
malformed, the three conflict policies, limits, and the session request of RFC 3921."""
import unittest

import tap
from server import Server
from xmpp import BIND, CLIENT, SESSION, Client, Ended, q, show, stanza_error

SET = f"<iq type='set' id='{{id}}'><bind xmlns='{BIND}'>%s</bind></iq>"
PROBE = "<iq type='get' id='{id}' to='%s'><q xmlns='urn:example:q'/></iq>"


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        for name in ('juliet', 'romeo'):
            cls.server.add_user(f'{name}@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def unbound(self, jid='juliet@localhost'):
        c = Client(self.server).authenticated(jid)
        self.addCleanup(c.abort)
        return c

    def login(self, jid='juliet@localhost', **options):
        c = Client(self.server).login(jid, **options)
        self.addCleanup(c.abort)
        return c

    def sessions(self):
        return sorted(row['jid'] for row in self.server.ctl_json('sessions'))


class Resources(Base):
    def bind_error(self, c, resource):
        answer = c.request(SET % f'<resource>{resource}</resource>')
        self.assertEqual(answer.get('type'), 'error', show(answer))
        return stanza_error(answer)

    def test_given(self):
        c = self.unbound()
        self.assertEqual(c.bind('balcony'), 'juliet@localhost/balcony')
        c.silent()

    def test_generated(self):
        seen = set()
        for _ in range(3):
            jid = self.unbound().bind()
            bare, resource = jid.split('/', 1)
            self.assertEqual(bare, 'juliet@localhost')
            self.assertGreaterEqual(len(resource), 10)
            seen.add(jid)
        self.assertEqual(len(seen), 3)

    def test_empty_resource_is_generated(self):
        for inner in ('<resource/>', '<resource></resource>'):
            answer = self.unbound().request(SET % inner)
            jid = answer.findtext(f'{q(BIND, "bind")}/{q(BIND, "jid")}')
            self.assertGreater(len(jid.split('/', 1)[1]), 10)

    def test_resource_beyond_ascii(self):
        c = self.unbound()
        self.assertEqual(c.bind('B\u00e4lk\u00f6n \u2603 &amp;'),
                         'juliet@localhost/B\u00e4lk\u00f6n \u2603 &')

    def test_resource_case_counts(self):
        a = self.login(resource='Case')
        b = self.login(resource='case')
        self.assertNotEqual(a.jid, b.jid)
        a.silent()
        b.silent()

    def test_malformed(self):
        c = self.unbound()
        for resource in ('x' * 1024, '\u0085', '\u2028'):
            with self.subTest(resource[:5]):
                c = self.unbound()
                self.assertEqual(self.bind_error(c, resource), ('modify', 'bad-request'))
                self.assertEqual(c.bind('good'), 'juliet@localhost/good')

    def test_longest_resource(self):
        self.assertEqual(self.unbound().bind('x' * 1023), 'juliet@localhost/' + 'x' * 1023)

    def test_result_has_no_from(self):
        answer = self.unbound().request(SET % '')
        self.assertEqual(answer.get('type'), 'result')
        self.assertIn(answer.get('from'), (None, 'localhost'))

    def test_bound_session_is_listed(self):
        c = self.login(resource='listed')
        rows = [r for r in self.server.ctl_json('sessions') if r['jid'] == c.jid]
        self.assertEqual(len(rows), 1)
        self.assertEqual(rows[0]['tls'], 'yes')
        self.assertEqual(rows[0]['ip'], '127.0.0.1')
        self.assertEqual(rows[0]['mechanism'], 'SCRAM-SHA-256')

    def test_legacy_session_request(self):
        """RFC 3921, 3: clients still ask."""
        c = self.login()
        answer = c.request(f"<iq type='set' id='{{id}}'><session xmlns='{SESSION}'/></iq>")
        self.assertEqual(answer.get('type'), 'result', show(answer))
        answer = c.request(f"<iq type='set' id='{{id}}' to='localhost'><session xmlns='{SESSION}'/>"
                           '</iq>')
        self.assertEqual(answer.get('type'), 'result', show(answer))

    def test_bind_again(self):
        """One resource per stream; the one there stays."""
        c = self.login(resource='first')
        answer = c.request(SET % '<resource>second</resource>')
        self.assertEqual(answer.get('type'), 'error', show(answer))
        self.assertNotIn('juliet@localhost/second', self.sessions())
        self.assertIn('juliet@localhost/first', self.sessions())
        c.silent()


class BeforeBind(Base):
    def test_stanzas_before_bind(self):
        for data in ("<message to='romeo@localhost'><body>x</body></message>", '<presence/>',
                     "<presence to='romeo@localhost'/>"):
            with self.subTest(data):
                c = self.unbound()
                c.send(data)
                self.assertEqual(c.ended(), 'not-authorized')

    def test_iqs_before_bind(self):
        romeo = self.login('romeo@localhost', resource='r')
        for data in ("<iq type='get' id='x'><query xmlns='jabber:iq:roster'/></iq>",
                     f"<iq type='get' id='x'><bind xmlns='{BIND}'/></iq>",
                     f"<iq type='set'><bind xmlns='{BIND}'/></iq>",
                     "<iq type='set' id='x' to='romeo@localhost/r'><q xmlns='urn:example:q'/></iq>"):
            with self.subTest(data):
                c = self.unbound()
                c.send(data)
                try:
                    el = c.element()
                    self.assertEqual((el.tag, el.get('type')), (q(CLIENT, 'iq'), 'error'), show(el))
                    self.assertNotIn('juliet@localhost/', ' '.join(self.sessions()))
                    c.bind('after')
                    c.close()
                except Ended as e:
                    self.assertIn(e.condition, ('not-authorized', 'policy-violation'))
        romeo.silent()

    def test_result_before_bind_is_not_answered_with_an_error(self):
        """RFC 6120, 8.3.1: no error for an error."""
        for type_ in ('result', 'error'):
            c = self.unbound()
            c.send(f"<iq type='{type_}' id='x'><bind xmlns='{BIND}'/></iq>")
            c.send((SET % '').replace('{id}', 'b'))
            try:
                c.stanza('iq', id='b', type='result')
            except Ended as e:
                self.assertEqual(e.condition, 'not-authorized')

    def test_five_bad_binds(self):
        c = self.unbound()
        for _ in range(5):
            answer = c.request(SET % f'<resource>{"x" * 1024}</resource>')
            self.assertEqual(answer.get('type'), 'error')
        self.assertEqual(c.ended(), 'policy-violation')

    def test_requests_without_bind_have_an_end(self):
        c = self.unbound()
        with self.assertRaises(Ended):
            for i in range(100):
                c.send(f"<iq type='get' id='{i}'><q xmlns='urn:example:q'/></iq>")
                c.element()

    def test_unknown_element_before_bind(self):
        c = self.unbound()
        c.send("<x xmlns='urn:example:x'/>")
        self.assertEqual(c.ended(), 'unsupported-stanza-type')


class KickOld(Base):
    options = {'limits': {'sessions_per_account': 3}}

    def test_old_stream_gets_conflict(self):
        old = self.login(resource='same')
        new = self.login(resource='same')
        self.assertEqual(new.jid, 'juliet@localhost/same')
        self.assertEqual(old.ended(), 'conflict')
        self.assertIn(old.disconnected(), ('fin', 'close_notify'))
        new.silent()
        self.assertEqual(self.sessions().count('juliet@localhost/same'), 1)

    def test_messages_go_to_the_new_one(self):
        self.login(resource='same')
        new = self.login(resource='same')
        romeo = self.login('romeo@localhost')
        romeo.send("<message to='juliet@localhost/same' type='chat'><body>hi</body></message>")
        new.stanza('message')

    def test_many_conflicts_in_a_row(self):
        previous = self.login(resource='again')
        for _ in range(10):
            c = self.login(resource='again')
            self.assertEqual(previous.ended(), 'conflict')
            previous = c
        previous.silent()

    def test_too_many_sessions_end_the_oldest(self):
        self.server.add_user('many@localhost')
        streams = [self.login('many@localhost') for _ in range(4)]
        self.assertEqual(streams[0].ended(), 'conflict')
        for c in streams[1:]:
            c.silent()


class Refuse(Base):
    options = {'host': {'resource_conflict': 'refuse'}}

    def test_new_stream_gets_conflict(self):
        old = self.login(resource='same')
        new = self.unbound()
        answer = new.request(SET % '<resource>same</resource>')
        self.assertEqual(answer.get('type'), 'error')
        self.assertEqual(stanza_error(answer)[1], 'conflict')
        old.silent()
        self.assertEqual(new.bind('other'), 'juliet@localhost/other')

    def test_resource_is_free_after_the_end(self):
        self.login(resource='once').close()
        self.login(resource='once').silent()


class NewResource(Base):
    options = {'host': {'resource_conflict': 'new_resource'}}

    def test_new_stream_gets_another_resource(self):
        old = self.login(resource='same')
        new = self.unbound()
        jid = new.bind('same')
        self.assertNotEqual(jid, 'juliet@localhost/same')
        self.assertTrue(jid.startswith('juliet@localhost/'))
        old.silent()
        new.silent()
        answer = old.request(PROBE % 'localhost')
        self.assertEqual(answer.get('type'), 'error')


if __name__ == '__main__':
    tap.main()
