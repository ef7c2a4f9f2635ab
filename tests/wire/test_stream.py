"""tests/wire/test_stream.py: stream negotiation byte by byte (RFC 6120, 4 and 5; RFC 7590; XEP-0368):
headers, features, STARTTLS, direct TLS, every stream error a client can earn, closing."""
import re
import time
import unittest

from OpenSSL import SSL

import tap
from server import HOST, HOST2, Server
from xmpp import (BIND, CLIENT, SASL, SESSION, STREAM, TLS, Client, Ended, name_of, q, sasl, show,
                  stanza_error)

IQ = "<iq type='get' id='{}' to='localhost'><fence xmlns='urn:example:fence'/></iq>"


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        c = Client(self.server, **options)
        self.addCleanup(c.abort)
        return c

    def error_for(self, data, **header):
        """The stream error with which the server answers these bytes behind a header."""
        c = self.client()
        c.send(c.header(**header) + data)
        c.opened()
        c.element(q(STREAM, 'features'))
        return c.ended()

    def error_for_header(self, data):
        """The stream error for a header; the server's own header comes first (RFC 6120, 4.9.1.2)."""
        c = self.client()
        c.send(data)
        c.opened()
        condition = c.ended()
        self.assertTrue(c.received.endswith(b'</stream:stream>'), c.received)
        self.assertIn(c.disconnected(), ('fin',))
        return condition


class Header(Base):
    def test_header_attributes(self):
        c = self.client()
        c.send(c.header(attributes="from='juliet@localhost/x' xml:lang='de' id='mine'"))
        reply = c.opened()
        self.assertEqual(reply.get('from'), HOST)
        self.assertEqual(reply.get('to'), 'juliet@localhost')
        self.assertEqual(reply.get('version'), '1.0')
        self.assertEqual(reply.get('{http://www.w3.org/XML/1998/namespace}lang'), 'en')
        self.assertGreaterEqual(len(reply.get('id')), 10)
        self.assertNotEqual(reply.get('id'), 'mine')
        c.element()
        self.assertTrue(c.received.startswith(b"<?xml version='1.0'"), c.received)
        self.assertIn(b"xmlns='jabber:client'", c.received)
        self.assertIn(b"xmlns:stream='http://etherx.jabber.org/streams'", c.received)

    def test_header_without_from_gets_no_to(self):
        c = self.client()
        c.open()
        self.assertIsNone(c.reply.get('to'))

    def test_stream_ids_are_unique(self):
        seen = set()
        for _ in range(20):
            c = self.client()
            c.open()
            seen.add(c.reply.get('id'))
            c.abort()
        self.assertEqual(len(seen), 20)

    def test_header_without_xml_declaration(self):
        c = self.client()
        c.send(re.sub(r'^<\?.*?\?>', '', c.header()))
        c.opened()
        c.element(q(STREAM, 'features'))

    def test_header_in_double_quotes_with_white_space(self):
        c = self.client()
        c.send('<?xml version="1.0" encoding="utf-8"?>\n<stream:stream\n  to="localhost"\n'
               f'  version="1.0"\n  xmlns="jabber:client" xmlns:stream="{STREAM}"  >\n')
        c.opened()
        c.element(q(STREAM, 'features'))

    def test_header_with_another_prefix(self):
        c = self.client()
        c.send(f"<s:stream to='localhost' version='1.0' xmlns='{CLIENT}' xmlns:s='{STREAM}'>")
        c.opened()
        c.element(q(STREAM, 'features'))

    def test_header_version_1_1(self):
        c = self.client()
        c.send(c.header(version='1.1'))
        self.assertEqual(c.opened().get('version'), '1.0')
        c.element(q(STREAM, 'features'))

    def test_host_name_in_capitals(self):
        c = self.client()
        c.send(c.header(to='LOCALHOST'))
        self.assertEqual(c.opened().get('from'), HOST)
        c.element(q(STREAM, 'features'))

    def test_second_host(self):
        c = self.client(host=HOST2)
        c.open()
        self.assertEqual(c.reply.get('from'), HOST2)

    def test_server_speaks_second(self):
        """Not a byte before the client's header."""
        c = self.client()
        self.assertRaises(AssertionError, c.next, timeout=0.2)
        c.open()


class Features(Base):
    def test_features_before_tls_are_starttls_required_alone(self):
        features = self.client().open()
        self.assertEqual([f.tag for f in features], [q(TLS, 'starttls')])
        self.assertEqual([f.tag for f in features[0]], [q(TLS, 'required')])

    def test_features_inside_tls(self):
        c = self.client()
        features = c.secure()
        tags = [f.tag for f in features]
        self.assertIn(q(SASL, 'mechanisms'), tags)
        self.assertNotIn(q(TLS, 'starttls'), tags)
        self.assertNotIn(q(BIND, 'bind'), tags)
        self.assertEqual(c.mechanisms(), ['SCRAM-SHA-512-PLUS', 'SCRAM-SHA-256-PLUS',
                                          'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-512', 'SCRAM-SHA-256',
                                          'SCRAM-SHA-1', 'PLAIN'])
        binding = features.find('{urn:xmpp:sasl-cb:0}sasl-channel-binding')
        self.assertEqual([b.get('type') for b in binding],
                         ['tls-exporter', 'tls-server-end-point'])

    def test_features_after_authentication(self):
        self.server.add_user('features@localhost')
        c = self.client().authenticated('features@localhost')
        tags = [f.tag for f in c.features]
        self.assertIn(q(BIND, 'bind'), tags)
        session = c.features.find(q(SESSION, 'session'))
        self.assertEqual([e.tag for e in session], [q(SESSION, 'optional')])
        for gone in (q(TLS, 'starttls'), q(SASL, 'mechanisms')):
            self.assertNotIn(gone, tags)
        self.assertEqual(c.reply.get('from'), HOST)

    def test_stream_id_changes_with_every_restart(self):
        self.server.add_user('ids@localhost')
        c = self.client()
        seen = []
        c.open()
        seen.append(c.reply.get('id'))
        c.starttls()
        c.host = HOST
        c.open()
        seen.append(c.reply.get('id'))
        c.authenticate('ids', 'secret')
        c.open()
        seen.append(c.reply.get('id'))
        self.assertEqual(len(set(seen)), 3)


class StartTls(Base):
    def test_starttls_then_the_header_is_new(self):
        c = self.client()
        c.open()
        c.starttls()
        c.open()
        self.assertEqual(c.tls.get_protocol_version_name(), 'TLSv1.3')

    def test_starttls_with_tls_1_2(self):
        c = self.client()
        c.open()
        c.starttls(version=SSL.TLS1_2_VERSION)
        c.open()
        self.assertEqual(c.tls.get_protocol_version_name(), 'TLSv1.2')

    def test_tls_1_1_is_refused(self):
        c = self.client()
        c.open()
        with self.assertRaises((SSL.Error, Ended)):
            c.starttls(version=SSL.TLS1_1_VERSION)

    def test_starttls_twice(self):
        c = self.client()
        c.secure()
        c.send(f"<starttls xmlns='{TLS}'/>")
        c.element(q(TLS, 'failure'))
        self.assertIsNone(c.ended())

    def inject(self, glue):
        """Clear bytes behind <starttls/> never count; the stream ends (CVE-2011-0411)."""
        c = self.client()
        c.open()
        data = f"<starttls xmlns='{TLS}'/>"
        tail = "<iq type='get' id='inj' to='localhost'><q xmlns='urn:example:inj'/></iq>"
        if glue:
            c.send(data + tail)
        else:
            c.send(data)
            c.send(tail)
        end = None
        while end is None:
            kind, el = c.next()
            if kind == 'eof':
                end = c.eof
            elif kind == 'element':
                self.assertIn(el.tag, (q(TLS, 'proceed'), q(STREAM, 'error')), show(el))
        self.assertNotIn(b"id='inj'", c.received)
        return c

    def test_injection_in_the_same_segment(self):
        c = self.inject(True)
        self.assertIn(b'<policy-violation', c.received)
        self.server.wait_log('starttls_injection')

    def test_blanks_behind_starttls_are_dropped(self):
        """go-xmpp ends <starttls/> and <auth/> with a line feed."""
        for blank in (' ', '\n', '\r\n\t '):
            c = self.client()
            c.open()
            c.send(f"<starttls xmlns='{TLS}'/>{blank}")
            c.element(q(TLS, 'proceed'))
            c.handshake()
            c.open()

    def test_injection_behind_blanks(self):
        c = self.client()
        c.open()
        c.send(f"<starttls xmlns='{TLS}'/>\n" + c.header())
        self.assertIn(c.disconnected(), ('fin', 'reset'))
        self.assertNotIn(b'mechanisms', c.received)

    def test_blanks_between_success_and_header(self):
        self.server.add_user('blank@localhost')
        c = self.client()
        c.secure()
        c.send(c.auth_element('PLAIN', sasl.plain('blank', 'secret')) + '\n')
        self.assertEqual(c.sasl_answer()[0], 'success')
        c.send(' \n')
        c.open()
        c.bind()

    def test_header_in_the_same_segment_is_not_interpreted(self):
        c = self.client()
        c.open()
        c.send(f"<starttls xmlns='{TLS}'/>" + c.header())
        self.assertIn(c.disconnected(), ('fin', 'reset'))
        self.assertNotIn(b'mechanisms', c.received)

    def test_handshake_of_garbage(self):
        c = self.client()
        c.open()
        c.send(f"<starttls xmlns='{TLS}'/>")
        c.element(q(TLS, 'proceed'))
        c.sock.sendall(b'<garbage/>' * 100)
        c.parser = None                                # a TLS alert is not XML
        c.feed = lambda data: None
        self.assertIn(c.disconnected(), ('fin', 'reset'))

    def test_login_and_stanzas_before_tls_are_refused(self):
        for data, expected in (
                (f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>", 'encryption-required'),
                ("<message to='a@localhost'/>", 'policy-violation'),
                ("<iq type='get' id='1'><q xmlns='urn:x'/></iq>", 'policy-violation'),
                ("<presence/>", 'policy-violation')):
            with self.subTest(repr(data)):
                c = self.client()
                c.open()
                c.send(data)
                if data.startswith('<auth'):
                    el = c.element(q(SASL, 'failure'))
                    self.assertEqual(name_of(el[0]), expected)
                else:
                    self.assertEqual(c.ended(), expected)


class DirectTls(Base):
    def test_direct_tls_on_the_same_port(self):
        c = self.client()
        c.handshake()
        c.open()
        self.assertIn('PLAIN', c.mechanisms())
        self.assertIsNone(c.features.find(q(TLS, 'starttls')))

    def test_alpn_xmpp_client(self):
        c = self.client()
        c.handshake(alpn=['xmpp-client'])
        self.assertEqual(c.tls.get_alpn_proto_negotiated(), b'xmpp-client')
        c.open()

    def test_alpn_of_another_protocol_is_refused(self):
        with self.assertRaises((SSL.Error, Ended)):
            c = self.client()
            c.handshake(alpn=['h2', 'http/1.1'])
            c.open()

    def test_sni_chooses_the_certificate(self):
        for direct in (True, False):
            for host in (HOST, HOST2):
                with self.subTest(host=host, direct=direct):
                    c = self.client(host=host)
                    c.secure(direct)
                    self.assertEqual(c.peer_names()[0], host)

    def test_without_sni_there_is_a_certificate(self):
        c = self.client()
        c.handshake(sni='', trust=HOST)
        self.assertEqual(c.peer_names()[0], HOST)
        c.open()

    def test_login_through_direct_tls(self):
        self.server.add_user('direct@localhost')
        c = self.client().login('direct@localhost', direct=True)
        c.silent()
        c.close()


class HeaderErrors(Base):
    def header(self, **options):
        return Client.header(self.client(), **options)

    def test_host_unknown(self):
        for to in ('nowhere.example', 'juliet@localhost', 'localhost/x', '@', 'a b'):
            with self.subTest(to):
                self.assertEqual(self.error_for_header(self.header(to=to)), 'host-unknown')

    def test_improper_addressing(self):
        self.assertEqual(self.error_for_header(self.header().replace("to='localhost'", '')),
                         'improper-addressing')

    def test_invalid_namespace_of_the_stream(self):
        self.assertEqual(self.error_for_header(self.header().replace(STREAM, 'urn:wrong')),
                         'invalid-namespace')

    def test_invalid_namespace_of_the_content(self):
        for ns in ('jabber:server', 'urn:wrong', 'jabber:component:accept'):
            with self.subTest(ns):
                self.assertEqual(self.error_for_header(self.header(ns=ns)), 'invalid-namespace')

    def test_bad_format_of_the_root(self):
        self.assertEqual(self.error_for_header(self.header().replace('stream:stream',
                                                                     'stream:river')), 'bad-format')

    def test_unsupported_version(self):
        for version in ('0.9', '2.0', ''):
            with self.subTest(version):
                self.assertEqual(self.error_for_header(self.header(version=version)),
                                 'unsupported-version')
        self.assertEqual(self.error_for_header(self.header().replace("version='1.0' xm", 'xm')),
                         'unsupported-version')

    def test_header_that_is_not_xml(self):
        for data in ('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', '<<<', "<a b='1' b='2'>",
                     '<stream:stream>', 'EHLO localhost\r\n', '</stream:stream>', '\0\0\0\0'):
            with self.subTest(repr(data)):
                self.assertIn(self.error_for_header(data),
                              ('not-well-formed', 'bad-format', 'unsupported-encoding'))

    def test_unsupported_encoding(self):
        data = self.header().replace("version='1.0'?", "version='1.0' encoding='ISO-8859-1'?")
        self.assertEqual(self.error_for_header(data), 'unsupported-encoding')

    def test_utf16_is_refused(self):
        self.assertIn(self.error_for_header(self.header().encode('utf-16')),
                      ('unsupported-encoding', 'not-well-formed'))

    def test_doctype_is_restricted(self):
        data = self.header().replace('?><', "?><!DOCTYPE s [<!ENTITY a 'b'>]><")
        self.assertEqual(self.error_for_header(data), 'restricted-xml')

    def test_header_of_more_than_10000_bytes(self):
        data = self.header(attributes=' '.join(f"a{i}='{'x' * 400}'" for i in range(30)))
        self.assertEqual(self.error_for_header(data), 'policy-violation')

    def test_endless_header(self):
        c = self.client()
        c.send("<stream:stream to='localhost' " + 'x' * 20000)
        c.opened()
        self.assertEqual(c.ended(), 'policy-violation')


class ContentErrors(Base):
    def test_not_well_formed(self):
        for data in ("<a><b></a>", "<message to='a@localhost'><body>&</body></message>", '<a b=c/>',
                     "<a b='1' b='2'/>", '<a>\x01</a>', '<a:b/>', '<a>&#0;</a>'):
            with self.subTest(repr(data)):
                self.assertEqual(self.error_for(data), 'not-well-formed')

    def test_invalid_utf8(self):
        for data in (b'<a>\xff</a>', b'<a>\xc3\x28</a>', b'<a>\xed\xa0\x80</a>',
                     b'<a>\xf4\x90\x80\x80</a>', b'<a>\xc0\x80</a>'):
            with self.subTest(repr(data)):
                c = self.client()
                c.open()
                c.send(data)
                self.assertIn(c.ended(), ('not-well-formed', 'unsupported-encoding', 'bad-format'))

    def test_restricted_xml(self):
        for data in ('<!-- comment -->', '<a><!-- comment --></a>', '<?target data?>',
                     '<a><?target?></a>', '<a>&entity;</a>'):
            with self.subTest(repr(data)):
                self.assertEqual(self.error_for(data), 'restricted-xml')

    def test_doctype_inside_the_stream(self):
        self.assertIn(self.error_for('<!DOCTYPE a>'), ('restricted-xml', 'not-well-formed'))

    def test_predefined_entities_are_no_error(self):
        c = self.client()
        c.secure()
        c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='&lt;&gt;&amp;&quot;&apos;"
               "&#65;'/>")
        self.assertEqual(name_of(c.element(q(SASL, 'failure'))[0]), 'invalid-mechanism')

    def test_text_between_elements(self):
        self.assertEqual(self.error_for('hello'), 'bad-format')

    def test_policy_violation_above_10000_bytes(self):
        self.assertEqual(self.error_for('<a>' + 'x' * 10000 + '</a>'), 'policy-violation')

    def test_policy_violation_without_an_end(self):
        c = self.client()
        c.open()
        c.send('<a>' + 'x' * 30000)
        self.assertEqual(c.ended(), 'policy-violation')

    def test_10000_bytes_are_accepted(self):
        """RFC 6120, 13.12: no limit below 10000 bytes."""
        c = self.client()
        c.secure()
        shell = f"<auth xmlns='{SASL}' mechanism='X'></auth>"
        c.send(shell.replace('></', '>' + 'A' * (10000 - len(shell)) + '</'))
        self.assertEqual(c.element().tag, q(SASL, 'failure'))

    def test_policy_violation_for_depth(self):
        self.assertEqual(self.error_for('<a>' * 200), 'policy-violation')

    def test_policy_violation_for_attributes(self):
        attributes = ' '.join(f"a{i}='1'" for i in range(200))
        self.assertEqual(self.error_for(f'<a {attributes}/>'), 'policy-violation')

    def test_bad_namespace_prefix(self):
        self.assertEqual(self.error_for(f"<x:message xmlns:x='{CLIENT}'/>"), 'bad-namespace-prefix')

    def test_stanzas_before_authentication(self):
        """RFC 6120, 4.9.3.12."""
        for data in ("<message to='a@localhost'><body>x</body></message>", '<presence/>',
                     "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>",
                     f"<iq type='set' id='1'><bind xmlns='{BIND}'/></iq>"):
            with self.subTest(repr(data)):
                c = self.client()
                c.secure()
                c.send(data)
                self.assertEqual(c.ended(), 'not-authorized')
                self.assertIn(c.disconnected(), ('fin', 'close_notify'))

    def test_element_of_an_unknown_namespace_before_authentication(self):
        c = self.client()
        c.secure()
        c.send("<x xmlns='urn:example:x'/>")
        self.assertEqual(c.ended(), 'unsupported-stanza-type')

    def test_auth_in_the_wrong_namespace(self):
        c = self.client()
        c.secure()
        c.send("<auth mechanism='PLAIN'>AGEAYg==</auth>")
        self.assertEqual(c.ended(), 'invalid-namespace')

    def test_after_an_error_nothing_is_interpreted(self):
        c = self.client()
        c.open()
        c.send("<a>&x;</a>" + f"<starttls xmlns='{TLS}'/>" * 50)
        self.assertEqual(c.ended(), 'restricted-xml')
        self.assertIn(c.disconnected(), ('fin',))
        self.assertNotIn(b'proceed', c.received)

    def test_the_error_reaches_a_client_that_goes_on_sending(self):
        """No reset before the client could read why."""
        c = self.client()
        c.open()
        c.send('<a>&x;</a>')
        c.send('<b/>' * 200)
        self.assertEqual(c.ended(), 'restricted-xml')


class Timeouts(Base):
    options = {'limits': {'login_timeout': '1s', 'idle_timeout': '10s'}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mute = Client(cls.server)                  # these two take ten seconds
        cls.server.add_user('quiet@localhost')
        cls.quiet = Client(cls.server).login('quiet@localhost')
        cls.quiet_since = time.monotonic()

    def test_connection_timeout_before_tls(self):
        c = self.client()
        c.open()
        self.assertEqual(c.ended(), 'connection-timeout')

    def test_connection_timeout_inside_tls(self):
        c = self.client()
        c.secure()
        self.assertEqual(c.ended(), 'connection-timeout')
        self.assertIn(c.disconnected(), ('fin', 'close_notify'))

    def test_connection_timeout_before_bind(self):
        self.server.add_user('late@localhost')
        c = self.client().authenticated('late@localhost')
        self.assertEqual(c.ended(), 'connection-timeout')

    def test_blanks_do_not_buy_time(self):
        c = self.client()
        c.open()
        with self.assertRaises((Ended, ConnectionError)):
            for _ in range(200):
                c.send(' ')
                try:
                    c.element(timeout=0.1)
                except AssertionError:
                    pass
        self.assertEqual(c.condition, 'connection-timeout')

    def test_handshake_that_never_goes_on(self):
        c = self.client()
        c.sock.sendall(b'\x16\x03\x01')
        c.feed = lambda data: None
        c.disconnected()

    def test_silent_connection_is_closed(self):
        self.mute.disconnected()

    def test_quiet_client_gets_a_blank(self):
        """RFC 6120, 4.6.1; it may go on being quiet."""
        c = self.quiet
        deadline = time.monotonic() + c.timeout
        while not c.received.endswith(b' '):
            self.assertIsNone(c.eof)
            self.assertTrue(c.fill(deadline), 'no blank')
        self.assertGreater(time.monotonic() - self.quiet_since, 8)
        c.silent()
        c.close()

    def test_bound_session_has_all_the_time(self):
        self.server.add_user('slow@localhost')
        c = self.client().login('slow@localhost')
        other = self.client()
        other.open()
        self.assertEqual(other.ended(), 'connection-timeout')
        c.silent()


class Flow(Base):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server.add_user('juliet@localhost')
        cls.server.add_user('romeo@localhost')

    def test_white_space_keepalive(self):
        c = self.client()
        c.open()
        c.send(' \n\t ')
        c.starttls()
        c.open()
        c.send(' ')
        c.authenticate('juliet', 'secret')
        c.open()
        c.send('\n')
        c.bind()
        for blank in (' ', '\n', ' \r\n\t' * 100):
            c.send(blank)
            c.silent()
        c.close()

    def test_close_is_answered(self):
        for phase in ('header', 'tls', 'bound'):
            with self.subTest(phase):
                c = self.client()
                if phase == 'header':
                    c.open()
                elif phase == 'tls':
                    c.secure()
                else:
                    c.login('juliet@localhost')
                c.close()
                self.assertTrue(c.received.rstrip().endswith(b'</stream:stream>'), c.received)

    def test_close_after_a_request_in_the_same_write(self):
        """RFC 6120, 4.4: what was sent before the end is worked off."""
        c = self.client().login('juliet@localhost')
        c.send(IQ.format('last') + '</stream:stream>')
        self.assertEqual(stanza_error(c.stanza('iq', id='last')), ('cancel', 'service-unavailable'))
        self.assertIsNone(c.ended())

    def test_message_and_close_in_the_same_write(self):
        romeo = self.client().login('romeo@localhost', resource='r')
        c = self.client().login('juliet@localhost')
        c.send("<message to='romeo@localhost/r' id='bye'><body>bye</body></message>"
               '</stream:stream>')
        self.assertIsNone(c.ended())
        romeo.stanza('message', id='bye')

    def test_cut_connection_frees_the_session(self):
        c = self.client().login('juliet@localhost', resource='cut')
        c.abort()
        other = self.client().login('romeo@localhost')
        while True:
            answer = other.request("<iq type='get' id='{id}' to='juliet@localhost/cut'>"
                                   "<q xmlns='urn:example:q'/></iq>")
            if answer.get('type') == 'error':
                break
        self.assertEqual(stanza_error(answer)[1], 'service-unavailable')

    def test_login_in_single_bytes(self):
        c = self.client()
        whole = c.send
        c.new_parser()
        c.send_slowly(c.header())
        c.opened()
        c.element(q(STREAM, 'features'))
        c.send_slowly(f"<starttls xmlns='{TLS}'/>")
        c.element(q(TLS, 'proceed'))
        c.handshake()
        c.send = lambda data: [whole(bytes([b])) for b in
                               (data.encode('utf-8') if isinstance(data, str) else data)]
        c.open()
        c.authenticate('juliet', 'secret')
        c.open()
        c.bind('slow')
        c.send("<message to='juliet@localhost/slow'><body>\u00fc\u4e16\U0001f600 &amp;</body>"
               '</message>')
        self.assertEqual(c.stanza('message').findtext(q(CLIENT, 'body')),
                         '\u00fc\u4e16\U0001f600 &')
        c.close()

    def test_header_and_starttls_split_at_every_byte(self):
        probe = self.client()
        parts = [probe.header(), f"<starttls xmlns='{TLS}'/>"]
        for which in (0, 1):
            for at in range(1, len(parts[which])):
                with self.subTest(which=which, at=at):
                    c = self.client()
                    for i, part in enumerate(parts):
                        if i == which:
                            c.send(part[:at])
                            c.send(part[at:])
                        else:
                            c.send(part)
                        if i == 0:
                            c.opened()
                            c.element(q(STREAM, 'features'))
                    c.element(q(TLS, 'proceed'))
                    c.abort()

    def test_stanzas_split_at_every_byte(self):
        c = self.client().login('juliet@localhost', resource='cut2')
        data = ("<message to='juliet@localhost/cut2' id='m'><body>\u00e9&#x1F600;&lt;</body>"
                "<x xmlns='urn:example:x' a='&quot;'><y/></x></message>").encode('utf-8')
        for at in range(1, len(data)):
            c.send(data[:at])
            c.send(data[at:])
            el = c.stanza('message', id='m')
            self.assertEqual(el.findtext(q(CLIENT, 'body')), '\u00e9\U0001f600<')
            self.assertEqual(el.find('{urn:example:x}x').get('a'), '"')
        c.silent()

    def test_login_without_waiting(self):
        """Everything behind TLS in one write: nothing is lost at the restarts."""
        c = self.client()
        c.open()
        c.starttls()
        c.new_parser()
        plain = c.auth_element('PLAIN', sasl.plain('juliet', 'secret'))
        c.send(c.header() + plain)
        c.opened()
        c.element(q(STREAM, 'features'))
        self.assertEqual(c.sasl_answer()[0], 'success')
        c.new_parser()
        c.send(c.header() + f"<iq type='set' id='b'><bind xmlns='{BIND}'>"
               "<resource>fast</resource></bind></iq>" + IQ.format('f'))
        c.opened()
        c.element(q(STREAM, 'features'))
        c.stanza('iq', id='b', type='result')
        c.stanza('iq', id='f', type='error')

    def test_header_behind_auth_in_the_same_write(self):
        c = self.client()
        c.secure()
        c.send(c.auth_element('PLAIN', sasl.plain('juliet', 'secret')) + c.header() +
               f"<iq type='set' id='b'><bind xmlns='{BIND}'/></iq>")
        # Two documents in a row: looked at as bytes.
        c.feed = lambda data: setattr(c, 'received', c.received + data)
        while b'</iq>' not in c.received and not c.eof:
            c.fill(time.monotonic() + c.timeout)
        self.assertIn(b'<success', c.received)
        self.assertIn(b"id='b'", c.received)
        self.assertIn(b'<jid>juliet@localhost/', c.received)

    def test_other_host_after_authentication(self):
        c = self.client()
        c.secure()
        c.authenticate('juliet', 'secret')
        c.new_parser()
        c.send(c.header(to=HOST2))
        c.opened()
        self.assertEqual(c.ended(), 'not-authorized')

    def test_shutdown_tells_clients(self):
        server = Server().start()
        self.addCleanup(server.stop)
        server.add_user('juliet@localhost')
        bound = Client(server).login('juliet@localhost')
        early = Client(server)
        early.open()
        secure = Client(server)
        secure.secure()
        server.stop()
        self.assertEqual(bound.ended(), 'system-shutdown')
        self.assertEqual(early.ended(), 'system-shutdown')
        self.assertEqual(secure.ended(), 'system-shutdown')


class Optional(Base):
    options = {'listen': {'tls': 'optional'}, 'host': {'plain': 'always'}}

    def test_optional_tls_offers_everything(self):
        features = self.client().open()
        tags = [f.tag for f in features]
        self.assertEqual(tags[0], q(TLS, 'starttls'))
        self.assertEqual(len(features[0]), 0)
        self.assertIn(q(SASL, 'mechanisms'), tags)

    def test_login_in_clear(self):
        self.server.add_user('clear@localhost')
        for mechanism in ('SCRAM-SHA-1', 'PLAIN'):
            c = self.client()
            c.open()
            c.authenticate('clear', 'secret', mechanism)
            c.open()
            self.assertIsNone(c.features.find(q(TLS, 'starttls')))
            c.bind()
            c.close()


class DirectOnly(Base):
    options = {'listen': {'tls': 'direct'}}

    def test_direct_listener_serves_tls(self):
        self.client().secure(direct=True)

    def test_direct_listener_refuses_clear_text(self):
        c = self.client()
        c.send(c.header())
        c.feed = lambda data: self.assertNotIn(b'features', data)
        self.assertIn(c.disconnected(), ('fin', 'reset'))


class NoCertificate(Base):
    options = {'host': {'certificate': None}, 'listen': {'tls': 'optional'}}

    def test_without_certificate_no_starttls(self):
        features = self.client().open()
        self.assertIsNone(features.find(q(TLS, 'starttls')))

    def test_starttls_without_certificate_fails(self):
        c = self.client()
        c.open()
        c.send(f"<starttls xmlns='{TLS}'/>")
        c.element(q(TLS, 'failure'))
        self.assertIsNone(c.ended())

    def test_direct_tls_without_certificate_ends(self):
        c = self.client()
        with self.assertRaises((Ended, SSL.Error, ConnectionError)):
            c.handshake(trust=HOST)


if __name__ == '__main__':
    tap.main()
