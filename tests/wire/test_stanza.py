"""tests/wire/test_stanza.py: what the server does with a bound client's stanzas before any module is
asked (RFC 6120, 8 and 10; RFC 6121, 8.5): addresses, malformed requests, routing, sizes. No module
is enabled."""
import unittest

import tap
from server import HOST2, Server
from xmpp import CLIENT, STANZAS, Client, q, show, stanza_error

Q = "<q xmlns='urn:example:q'/>"


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        for jid in ('juliet@localhost', 'romeo@localhost', 'nurse@two.example'):
            cls.server.add_user(jid)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def login(self, jid='juliet@localhost', **options):
        c = Client(self.server).login(jid, **options)
        self.addCleanup(c.abort)
        return c

    def error(self, c, data, kind='iq', **attributes):
        c.send(data)
        el = c.stanza(kind, type='error', **attributes)
        return stanza_error(el)


class Addresses(Base):
    def test_invalid_from_closes(self):
        for from_ in ('romeo@localhost', 'juliet@localhost/other', 'localhost', 'juliet@two.example',
                      '@', '', 'juliet@localhost/'):
            for stanza in ("<message from='{}' to='juliet@localhost'/>", "<presence from='{}'/>",
                           f"<iq from='{{}}' type='get' id='1'>{Q}</iq>"):
                with self.subTest(from_=from_, stanza=stanza):
                    c = self.login(resource='r')
                    c.send(stanza.format(from_))
                    self.assertEqual(c.ended(), 'invalid-from')

    def test_own_from_is_accepted(self):
        c = self.login(resource='r')
        for from_ in ('juliet@localhost', 'juliet@localhost/r', 'JULIET@LocalHost/r'):
            c.send(f"<message from='{from_}' to='juliet@localhost/r' id='m'/>")
            c.stanza('message', id='m', from_='juliet@localhost/r')

    def test_from_is_always_the_full_address(self):
        romeo = self.login('romeo@localhost', resource='r')
        juliet = self.login(resource='balcony')
        juliet.send("<message to='romeo@localhost/r' from='juliet@localhost'><body>x</body>"
                    '</message>')
        romeo.stanza('message', from_='juliet@localhost/balcony', to='romeo@localhost/r')

    def test_jid_malformed(self):
        c = self.login()
        for to in ('@localhost', 'a@b@c', '/x', 'a b@localhost', 'juliet@', 'juliet@localhost/', '',
                   'x' * 1024 + '@localhost', '&lt;@localhost', '@', 'a@/b', 'juliet@-.localhost.'):
            for data, kind in ((f"<iq type='get' id='e' to='{to}'>{Q}</iq>", 'iq'),
                               (f"<message id='e' to='{to}'><body>x</body></message>", 'message')):
                with self.subTest(to=to[:20], kind=kind):
                    self.assertEqual(self.error(c, data, kind, id='e'),
                                     ('modify', 'jid-malformed'))

    def test_errors_to_malformed_addresses_are_dropped(self):
        """RFC 6120, 8.3.1."""
        c = self.login()
        c.send("<message type='error' to='@'/><iq type='error' id='1' to='@'/>"
               "<iq type='result' id='2' to='@'/>")
        c.silent()

    def test_remote_domain(self):
        c = self.login()
        self.assertEqual(self.error(c, f"<iq type='get' id='e' to='far.example'>{Q}</iq>", id='e',
                                    from_='far.example'), ('cancel', 'remote-server-not-found'))
        self.assertEqual(self.error(
            c, "<message id='e' to='x@far.example/y'><body>a</body></message>", 'message', id='e',
            from_='x@far.example/y'), ('cancel', 'remote-server-not-found'))

    def test_errors_and_results_to_remote_domains_are_dropped(self):
        c = self.login()
        c.send("<iq type='result' id='1' to='far.example'/>"
               "<iq type='error' id='2' to='far.example'/>"
               "<message type='error' to='far.example'/>")
        c.silent()

    def test_other_host_of_this_server(self):
        nurse = self.login('nurse@two.example', resource='n')
        juliet = self.login(resource='j')
        juliet.send("<message to='nurse@two.example/n'><body>x</body></message>")
        nurse.stanza('message', from_='juliet@localhost/j')
        self.assertEqual(self.error(juliet, f"<iq type='get' id='e' to='{HOST2}'>{Q}</iq>", id='e',
                                    from_=HOST2), ('cancel', 'service-unavailable'))


class Iqs(Base):
    def test_bad_requests(self):
        c = self.login()
        for data in (f"<iq type='get'>{Q}</iq>", f"<iq type='get' id='e' to='localhost'>{Q}{Q}</iq>",
                     "<iq type='get' id='e' to='localhost'/>", "<iq type='set' id='e'/>",
                     f"<iq type='gte' id='e'>{Q}</iq>", f"<iq id='e'>{Q}</iq>",
                     f"<iq type='' id='e'>{Q}</iq>", "<iq type='get' id='e'>text</iq>",
                     f"<iq type='GET' id='e'>{Q}</iq>", f"<iq type='set' to='localhost'>{Q}</iq>"):
            with self.subTest(data):
                self.assertEqual(self.error(c, data), ('modify', 'bad-request'))

    def test_result_with_two_children_is_refused_or_dropped(self):
        c = self.login()
        c.send(f"<iq type='result' id='e' to='romeo@localhost'>{Q}{Q}</iq>")
        for el in c.sync():
            self.assertEqual(stanza_error(el), ('modify', 'bad-request'), show(el))

    def test_empty_id_is_answered_with_it(self):
        c = self.login()
        c.send(f"<iq type='get' id=''>{Q}</iq>")
        el = c.stanza('iq', type='error')
        self.assertIn(el.get('id'), ('', None))

    def test_unknown_namespace(self):
        c = self.login()
        for to in ('localhost', 'juliet@localhost', None):
            for type_ in ('get', 'set'):
                with self.subTest(to=to, type_=type_):
                    address = f"to='{to}'" if to else ''
                    c.send(f"<iq type='{type_}' id='e' {address}>{Q}</iq>")
                    el = c.stanza('iq', id='e', type='error', to=c.jid)
                    self.assertIn(el.get('from'), (to, 'juliet@localhost'))
                    self.assertEqual(stanza_error(el), ('cancel', 'service-unavailable'))

    def test_accounts_that_exist_and_not_answer_alike(self):
        c = self.login()
        answers = set()
        for to in ('romeo@localhost', 'nobody@localhost', 'nobody@localhost/x', 'romeo@localhost/x'):
            c.send(f"<iq type='get' id='e' to='{to}'>{Q}</iq>")
            el = c.stanza('iq', id='e', from_=to)
            answers.add(show(el).replace(to, ''))
        self.assertEqual(len(answers), 1, answers)

    def test_iq_to_a_full_address_keeps_its_id(self):
        romeo = self.login('romeo@localhost', resource='r')
        juliet = self.login(resource='j')
        juliet.send(f"<iq type='get' id='&lt;strange id&gt;' to='romeo@localhost/r'>{Q}</iq>")
        el = romeo.stanza('iq', id='<strange id>', type='get', from_='juliet@localhost/j')
        self.assertIsNotNone(el.find('{urn:example:q}q'))
        romeo.send("<iq type='result' id='&lt;strange id&gt;' to='juliet@localhost/j'>"
                   "<answer xmlns='urn:example:q'/></iq>")
        el = juliet.stanza('iq', id='<strange id>', type='result', from_='romeo@localhost/r')
        self.assertIsNotNone(el.find('{urn:example:q}answer'))

    def test_error_answer_is_routed(self):
        romeo = self.login('romeo@localhost', resource='r')
        juliet = self.login(resource='j')
        juliet.send(f"<iq type='get' id='e' to='romeo@localhost/r'>{Q}</iq>")
        romeo.stanza('iq', id='e')
        romeo.send("<iq type='error' id='e' to='juliet@localhost/j'><error type='cancel'>"
                   f"<feature-not-implemented xmlns='{STANZAS}'/></error></iq>")
        self.assertEqual(stanza_error(juliet.stanza('iq', id='e', type='error')),
                         ('cancel', 'feature-not-implemented'))

    def test_iq_to_an_absent_resource(self):
        c = self.login()
        self.assertEqual(self.error(c, f"<iq type='set' id='e' to='romeo@localhost/gone'>{Q}</iq>",
                                    id='e'), ('cancel', 'service-unavailable'))

    def test_result_that_nobody_asked_for(self):
        c = self.login()
        c.send("<iq type='result' id='0-abc' to='localhost'/><iq type='result' id='1-abc'/>"
               "<iq type='error' id='3-x' to='juliet@localhost'/>")
        c.silent()

    def test_error_carries_the_request_and_the_language_of_nobody(self):
        c = self.login()
        c.send("<iq type='get' id='e' to='localhost'><q xmlns='urn:example:q'>text</q></iq>")
        error = c.stanza('iq', id='e').find(q(CLIENT, 'error'))
        self.assertEqual(error.get('type'), 'cancel')

    def test_many_requests_are_answered_in_order(self):
        c = self.login()
        n = 1000
        c.send(''.join(f"<iq type='get' id='n{i}' to='localhost'>{Q}</iq>" for i in range(n)))
        for i in range(n):
            c.stanza('iq', id=f'n{i}', type='error')


class Messages(Base):
    def test_to_self_full(self):
        c = self.login(resource='r')
        c.send("<message to='juliet@localhost/r' id='m' type='chat'><body>x</body></message>")
        el = c.stanza('message', id='m', from_='juliet@localhost/r', to='juliet@localhost/r',
                      type='chat')
        self.assertEqual(el.findtext(q(CLIENT, 'body')), 'x')

    def test_without_to_is_to_self(self):
        """RFC 6120, 10.3.1."""
        c = self.login(resource='r')
        c.send("<presence/>")
        c.send("<message id='m'><body>x</body></message>")
        self.assertIn(c.stanza('message', id='m').get('type'), (None, 'error'))

    def test_to_full_address(self):
        romeo = [self.login('romeo@localhost', resource=r) for r in ('a', 'b')]
        juliet = self.login()
        for type_ in ('chat', 'normal', 'headline', 'groupchat', 'error'):
            juliet.send(f"<message to='romeo@localhost/b' type='{type_}' id='{type_}'/>")
            romeo[1].stanza('message', id=type_, type=type_)
        romeo[0].silent()

    def test_message_to_nobody_is_an_error(self):
        c = self.login()
        for to in ('nobody@localhost', 'nobody@localhost/x', 'romeo@localhost/gone'):
            with self.subTest(to):
                self.assertEqual(self.error(
                    c, f"<message id='e' to='{to}'><body>x</body></message>", 'message', id='e',
                    from_=to), ('cancel', 'service-unavailable'))

    def test_headlines_and_errors_to_nobody_are_dropped(self):
        c = self.login()
        c.send("<message type='headline' to='nobody@localhost'/>"
               "<message type='error' to='nobody@localhost'/>"
               "<message type='headline' to='romeo@localhost/gone'/>")
        c.silent()

    def test_message_to_the_host(self):
        c = self.login()
        self.assertEqual(self.error(c, "<message id='e' to='localhost'><body>x</body></message>",
                                    'message', id='e'), ('cancel', 'service-unavailable'))

    def test_content_is_forwarded_unchanged(self):
        romeo = self.login('romeo@localhost', resource='r')
        juliet = self.login()
        body = '&lt;&amp;&gt;&quot;&apos; \u00fc\u4e16\U0001f600\n\ttab&#13;'
        juliet.send("<message to='romeo@localhost/r' xml:lang='de' id='c' custom='1'>"
                    f"<body xml:lang='fr'>{body}</body><body>plain</body>"
                    "<x xmlns='urn:example:x' xmlns:p='urn:example:p' p:a='1&quot;&#10;'>"
                    "a<p:b/>c<q xmlns='urn:example:y'/>d</x></message>")
        el = romeo.stanza('message', id='c', custom='1')
        lang = '{http://www.w3.org/XML/1998/namespace}lang'
        self.assertEqual(el.get(lang), 'de')
        bodies = el.findall(q(CLIENT, 'body'))
        self.assertEqual(bodies[0].text, '<&>"\' \u00fc\u4e16\U0001f600\n\ttab\r')
        self.assertEqual(bodies[0].get(lang), 'fr')
        x = el.find('{urn:example:x}x')
        self.assertEqual(x.get('{urn:example:p}a'), '1"\n')
        self.assertEqual(x.text, 'a')
        self.assertEqual([(c.tag, c.tail) for c in x],
                         [('{urn:example:p}b', 'c'), ('{urn:example:y}q', 'd')])

    def test_prefixes_of_the_stream_header(self):
        """A prefix that only the sender's stream declared means the same at the recipient's."""
        romeo = self.login('romeo@localhost', resource='r')
        c = Client(self.server)
        self.addCleanup(c.abort)
        c.secure()
        c.authenticate('juliet', 'secret')
        c.open(attributes="xmlns:ex='urn:example:ex'")
        c.bind()
        c.send("<message to='romeo@localhost/r'><ex:x ex:a='1'><y/></ex:x></message>")
        el = romeo.stanza('message')
        x = el.find('{urn:example:ex}x')
        self.assertIsNotNone(x, show(el))
        self.assertEqual(x.get('{urn:example:ex}a'), '1')
        self.assertEqual(x[0].tag, q(CLIENT, 'y'))

    def test_order_from_one_to_one(self):
        romeo = self.login('romeo@localhost', resource='r')
        juliet = self.login()
        n = 2000
        juliet.send(''.join(f"<message to='romeo@localhost/r' id='{i}'/>" for i in range(n)))
        for i in range(n):
            romeo.stanza('message', id=str(i))


class Elements(Base):
    def test_unsupported_stanza_type(self):
        for data in ("<foo/>", "<q xmlns='urn:example:q'/>", "<Message to='a@localhost'/>",
                     "<message xmlns='jabber:server' to='juliet@localhost'/>",
                     "<message xmlns='urn:example:q'/>"):
            with self.subTest(data):
                c = self.login()
                c.send(data)
                self.assertIn(c.ended(), ('unsupported-stanza-type', 'invalid-namespace'))

    def test_text_between_stanzas(self):
        c = self.login()
        c.send('text')
        self.assertEqual(c.ended(), 'bad-format')

    def test_unknown_message_type_is_normal(self):
        """RFC 6121, 5.2.2."""
        c = self.login(resource='r')
        c.send("<message to='juliet@localhost/r' type='pigeon' id='m'/>")
        self.assertIn(c.stanza('message', id='m').get('type'), (None, 'normal', 'pigeon'))

    def test_unknown_presence_type(self):
        c = self.login()
        c.send("<presence type='asleep'/>")
        for el in c.sync():
            self.assertEqual(stanza_error(el), ('modify', 'bad-request'))


class Sizes(Base):
    options = {'limits': {'stanza_c2s': 20000, 'rate_c2s': '100M', 'burst_c2s': '100M'}}

    def message(self, size):
        shell = "<message to='juliet@localhost/r' id='m'><body></body></message>"
        return shell.replace('</body>', 'x' * (size - len(shell)) + '</body>')

    def test_largest_stanza(self):
        c = self.login(resource='r')
        c.send(self.message(20000))
        body = c.stanza('message', id='m').findtext(q(CLIENT, 'body'))
        self.assertEqual(len(body), 20000 - len(self.message(0)))

    def test_oversize_stanza(self):
        c = self.login(resource='r')
        c.send(self.message(20001))
        self.assertEqual(c.ended(), 'policy-violation')

    def test_oversize_stanza_that_never_ends(self):
        c = self.login(resource='r')
        c.send("<message to='juliet@localhost/r'><body>" + 'x' * 60000)
        self.assertEqual(c.ended(), 'policy-violation')

    def test_many_stanzas_of_the_largest_size(self):
        c = self.login(resource='r')
        for _ in range(50):
            c.send(self.message(20000))
        for _ in range(50):
            c.stanza('message', id='m')


if __name__ == '__main__':
    tap.main()
