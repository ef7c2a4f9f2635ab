"""tests/wire/test_sasl.py: SASL on the wire (RFC 6120, 6; RFC 4616; RFC 5802; RFC 7677; RFC 9266;
XEP-0440): every mechanism, every failure condition, what must not tell whether an account exists."""
import base64
import unittest

from OpenSSL import SSL

import sasl
import tap
from server import HOST2, Server
from xmpp import SASL, Client, Ended, Failure, show

SCRAMS = ('SCRAM-SHA-1', 'SCRAM-SHA-256', 'SCRAM-SHA-512')
PASSWORD = 'p\u00e4ss w\u00f6rd,="\U0001f600'


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        cls.server.add_user('juliet@localhost')
        cls.server.add_user('odd@localhost', PASSWORD)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        c = Client(self.server, **options)
        self.addCleanup(c.abort)
        return c

    def secure(self, **options):
        c = self.client(**options)
        c.secure()
        return c

    def failure(self, c, data):
        """The condition of the SASL failure that answers this."""
        c.send(data)
        with self.assertRaises(Failure) as caught:
            kind, _ = c.sasl_answer()
            self.fail(f'{kind} instead of a failure')
        return caught.exception.condition

    def refused(self, c, user, password, mechanism='SCRAM-SHA-256', **how):
        with self.assertRaises(Failure) as caught:
            c.authenticate(user, password, mechanism, **how)
        return caught.exception.condition


class Mechanisms(Base):
    def test_every_mechanism(self):
        for mechanism in SCRAMS + tuple(m + '-PLUS' for m in SCRAMS) + ('PLAIN',):
            with self.subTest(mechanism):
                c = self.client().login('juliet@localhost', mechanism=mechanism)
                c.silent()
                c.close()

    def test_passwords_beyond_ascii(self):
        for mechanism in SCRAMS + ('PLAIN',):
            with self.subTest(mechanism):
                c = self.secure()
                c.authenticate('odd', PASSWORD, mechanism)

    def test_user_name_is_prepared(self):
        for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
            c = self.secure()
            c.authenticate('JULIET', 'secret', mechanism)
            c.open()
            self.assertTrue(c.bind().startswith('juliet@localhost/'))

    def test_user_name_with_an_escaped_comma(self):
        """RFC 5802, 5.1: saslname."""
        self.server.add_user('a=b,c@localhost', 'secret')
        c = self.secure()
        c.authenticate('a=b,c', 'secret')
        c.open()
        self.assertTrue(c.bind().startswith('a=b,c@localhost/'))

    def test_initial_response_left_out(self):
        """RFC 6120, 6.4.3: an empty challenge asks for it."""
        for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
            with self.subTest(mechanism):
                c = self.secure()
                c.send(c.auth_element(mechanism))
                kind, data = c.sasl_answer()
                self.assertEqual((kind, data), ('challenge', None))
                if mechanism == 'PLAIN':
                    c.send(c.response(sasl.plain('juliet', 'secret')))
                else:
                    scram = sasl.Scram(mechanism, 'juliet', 'secret')
                    c.send(c.response(scram.first()))
                    c.send(c.response(scram.final(c.sasl_answer()[1])))
                self.assertEqual(c.sasl_answer()[0], 'success')

    def test_plus_with_server_end_point(self):
        for mechanism in SCRAMS:
            c = self.secure()
            c.authenticate('juliet', 'secret', mechanism + '-PLUS', binding='tls-server-end-point')

    def test_plus_with_exporter_in_tls_1_2(self):
        c = self.client()
        c.open()
        c.starttls(version=SSL.TLS1_2_VERSION)
        c.open()
        c.authenticate('juliet', 'secret', 'SCRAM-SHA-256-PLUS', binding='tls-exporter')

    def test_plus_with_direct_tls(self):
        c = self.client()
        c.secure(direct=True)
        c.authenticate('juliet', 'secret', 'SCRAM-SHA-256-PLUS')

    def test_authzid_of_oneself(self):
        c = self.secure()
        c.authenticate('juliet', 'secret', 'PLAIN', authzid='juliet@localhost')
        c = self.secure()
        c.authenticate('juliet', 'secret', authzid='juliet@localhost')

    def test_accounts_of_two_hosts_are_two(self):
        self.server.add_user('juliet@two.example', 'other')
        c = self.client(host=HOST2)
        c.secure()
        self.assertEqual(self.refused(c, 'juliet', 'secret'), 'not-authorized')
        c.authenticate('juliet', 'other')
        c.open()
        self.assertTrue(c.bind().startswith('juliet@two.example/'))

    def test_plus_nonce_and_salt_are_long(self):
        c = self.secure()
        scram = c.authenticate('juliet', 'secret')
        self.assertGreaterEqual(int(scram.attributes['i']), 4096)
        self.assertGreaterEqual(len(sasl.unb64(scram.attributes['s'])), 16)

    def test_server_nonces_differ(self):
        seen = set()
        for _ in range(5):
            scram = self.secure().authenticate('juliet', 'secret')
            seen.add(scram.attributes['r'][len(scram.nonce):])
        self.assertEqual(len(seen), 5)


class Failures(Base):
    def test_wrong_password(self):
        for mechanism in SCRAMS + ('SCRAM-SHA-256-PLUS', 'PLAIN'):
            with self.subTest(mechanism):
                c = self.secure()
                self.assertEqual(self.refused(c, 'juliet', 'wrong', mechanism), 'not-authorized')

    def test_right_password_after_a_wrong_one(self):
        c = self.secure()
        self.refused(c, 'juliet', 'wrong')
        c.authenticate('juliet', 'secret', 'SCRAM-SHA-1')
        c.open()
        c.bind()

    def test_unknown_user(self):
        for mechanism in SCRAMS + ('PLAIN',):
            with self.subTest(mechanism):
                c = self.secure()
                self.assertEqual(self.refused(c, 'nobody', 'secret', mechanism), 'not-authorized')

    def challenge(self, user, mechanism='SCRAM-SHA-256'):
        c = self.secure()
        scram = sasl.Scram(mechanism, user, 'wrong')
        c.send(c.auth_element(mechanism, scram.first()))
        kind, data = c.sasl_answer()
        self.assertEqual(kind, 'challenge')
        scram.final(data)
        return scram.attributes

    def test_unknown_user_looks_like_another(self):
        """The same shape, and the same salt every time: RFC 5802, 9 wants no oracle."""
        for mechanism in SCRAMS:
            known, unknown = (self.challenge(u, mechanism) for u in ('juliet', 'nobody'))
            self.assertEqual(list(known), list(unknown))
            self.assertEqual(known['i'], unknown['i'])
            self.assertEqual(len(sasl.unb64(known['s'])), len(sasl.unb64(unknown['s'])))
            self.assertEqual(unknown['s'], self.challenge('nobody', mechanism)['s'])
            self.assertNotEqual(unknown['s'], self.challenge('nobody2', mechanism)['s'])

    def test_salt_of_an_unknown_user_survives_a_restart(self):
        server = Server().start()
        self.addCleanup(server.stop)
        salts = []
        for _ in range(2):
            c = Client(server)
            c.secure()
            scram = sasl.Scram('SCRAM-SHA-256', 'nobody', 'x')
            c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
            scram.final(c.sasl_answer()[1])
            salts.append(scram.attributes['s'])
            c.abort()
            server.restart()
        self.assertEqual(salts[0], salts[1])

    def test_failure_elements_are_the_same(self):
        texts = set()
        for user in ('juliet', 'nobody'):
            for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
                c = self.secure()
                self.refused(c, user, 'wrong', mechanism)
                texts.add(show(c.failure))
        self.assertEqual(len(texts), 1, texts)

    def test_name_that_cannot_be_an_account(self):
        for user in ('a b', 'a@b', 'a/b', 'x' * 1100, '\u2028', '"'):
            for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
                with self.subTest(user=user[:9], mechanism=mechanism):
                    c = self.secure()
                    self.assertIn(self.refused(c, user, 'secret', mechanism),
                                  ('not-authorized', 'malformed-request'))

    def test_aborted(self):
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
        c.sasl_answer()
        self.assertEqual(self.failure(c, f"<abort xmlns='{SASL}'/>"), 'aborted')
        c.authenticate('juliet', 'secret')

    def test_aborted_without_an_exchange(self):
        c = self.secure()
        self.assertEqual(self.failure(c, f"<abort xmlns='{SASL}'/>"), 'aborted')

    def test_incorrect_encoding(self):
        for text in ('!!!!', 'AGp1bGlldABzZWNyZXQ', 'A===', 'AB=C', '\u00fc', 'AAAA='):
            with self.subTest(text):
                c = self.secure()
                self.assertEqual(self.failure(
                    c, f"<auth xmlns='{SASL}' mechanism='PLAIN'>{text}</auth>"),
                    'incorrect-encoding')

    def test_incorrect_encoding_in_a_response(self):
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
        c.sasl_answer()
        self.assertEqual(self.failure(c, f"<response xmlns='{SASL}'>*</response>"),
                         'incorrect-encoding')

    def test_malformed_requests(self):
        for mechanism, data in (
                ('PLAIN', b'juliet'), ('PLAIN', b'\0juliet'), ('PLAIN', b'\0\0secret'),
                ('PLAIN', b'\0juliet\0sec\0ret'), ('PLAIN', b'\0jul\xff\0secret'),
                ('PLAIN', b''),
                ('SCRAM-SHA-256', b'n,,'), ('SCRAM-SHA-256', b'n,,n=a'),
                ('SCRAM-SHA-256', b'x,,n=a,r=b'), ('SCRAM-SHA-256', b'n,,n=a=zz,r=b'),
                ('SCRAM-SHA-256', b'n,,r=b,n=a'), ('SCRAM-SHA-256', b'p=tls-exporter,,n=a,r=b'),
                ('SCRAM-SHA-256-PLUS', b'n,,n=a,r=b'), ('SCRAM-SHA-256-PLUS', b'y,,n=a,r=b'),
                ('SCRAM-SHA-1', b'n,,n=a,r='), ('SCRAM-SHA-512', b'n,,n=\xff,r=b')):
            with self.subTest(data):
                c = self.secure()
                self.assertEqual(self.failure(c, c.auth_element(mechanism, data)),
                                 'malformed-request')

    def final_with(self, change):
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
        final = scram.final(c.sasl_answer()[1]).decode('utf-8')
        return self.failure(c, c.response(change(final).encode('utf-8')))

    def test_final_message_that_was_changed(self):
        cases = {
            'proof': lambda f: f[:-8] + ('AAAAAAA=' if not f.endswith('AAAAAAA=') else 'BBBBBBB='),
            'nonce': lambda f: f.replace(',r=', ',r=x'),
            'binding': lambda f: f.replace('c=biws', 'c=eSws'),
            'no proof': lambda f: f.rsplit(',p=', 1)[0],
            'short proof': lambda f: f.rsplit(',p=', 1)[0] + ',p=AAAA',
            'empty': lambda f: '',
            'mandatory extension': lambda f: 'm=x,' + f,
        }
        for name, change in cases.items():
            with self.subTest(name):
                self.assertIn(self.final_with(change), ('not-authorized', 'malformed-request'))

    def test_response_without_an_exchange(self):
        c = self.secure()
        self.assertEqual(self.failure(c, c.response(b'x')), 'malformed-request')

    def test_auth_during_an_exchange_starts_anew(self):
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
        c.sasl_answer()
        c.authenticate('odd', PASSWORD)
        c.open()
        self.assertTrue(c.bind().startswith('odd@'))

    def test_invalid_mechanism(self):
        for name in ('X-UNKNOWN', '', 'plain', 'DIGEST-MD5', 'EXTERNAL', 'ANONYMOUS',
                     'SCRAM-SHA-256-PLUS-PLUS'):
            with self.subTest(name):
                c = self.secure()
                self.assertEqual(self.failure(c, c.auth_element(name, b'x')), 'invalid-mechanism')

    def test_no_mechanism_attribute(self):
        c = self.secure()
        self.assertEqual(self.failure(c, f"<auth xmlns='{SASL}'>AA==</auth>"), 'invalid-mechanism')

    def test_invalid_authzid(self):
        for authzid in ('romeo@localhost', 'juliet@two.example', 'juliet', '@', 'localhost'):
            for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
                with self.subTest(authzid=authzid, mechanism=mechanism):
                    c = self.secure()
                    self.assertEqual(self.refused(c, 'juliet', 'secret', mechanism,
                                                  authzid=authzid), 'invalid-authzid')

    def test_too_many_failures(self):
        """RFC 6120, 6.4.5: the third ends the stream."""
        c = self.secure()
        for _ in range(2):
            self.refused(c, 'juliet', 'wrong', 'PLAIN')
        self.refused(c, 'juliet', 'wrong', 'SCRAM-SHA-1')
        self.assertEqual(c.ended(), 'policy-violation')

    def until_ended(self, c, data, condition):
        """Failures that are no guesses at a password end the stream as well, later."""
        for _ in range(50):
            c.send(data)
            try:
                c.sasl_answer()
                self.fail('no failure')
            except Failure as e:
                self.assertEqual(e.condition, condition)
            except Ended as e:
                self.assertEqual(e.condition, 'policy-violation')
                return
        self.fail('50 attempts')

    def test_aborts_have_an_end(self):
        c = self.secure()
        self.until_ended(c, f"<abort xmlns='{SASL}'/>", 'aborted')

    def test_attempts_before_tls_have_an_end(self):
        c = self.client()
        c.open()
        self.until_ended(c, c.auth_element('PLAIN', b'\0a\0b'), 'encryption-required')

    def test_exchanges_left_half_way_have_an_end(self):
        """An account's salt is no free service: <auth/> again and again."""
        c = self.secure()
        scram = sasl.Scram('SCRAM-SHA-256', 'juliet', 'secret')
        with self.assertRaises((Ended, Failure)):
            for _ in range(50):
                c.send(c.auth_element('SCRAM-SHA-256', scram.first()))
                c.sasl_answer()

    def test_huge_message(self):
        c = self.secure()
        data = base64.b64encode(b'\0juliet\0' + b'x' * 6000).decode('ascii')
        self.assertIn(self.failure(c, f"<auth xmlns='{SASL}' mechanism='PLAIN'>{data}</auth>"),
                      ('malformed-request', 'not-authorized'))

    def test_sasl_elements_that_are_the_servers(self):
        for name in ('challenge', 'success', 'failure', 'x'):
            with self.subTest(name):
                c = self.secure()
                c.send(f"<{name} xmlns='{SASL}'/>")
                self.assertEqual(c.ended(), 'unsupported-stanza-type')

    def test_auth_after_authentication(self):
        c = self.client().authenticated('juliet@localhost')
        c.send(c.auth_element('PLAIN', sasl.plain('odd', PASSWORD)))
        self.assertIn(c.ended(), ('unsupported-stanza-type', 'not-authorized', 'policy-violation'))

    def test_removed_account_cannot_log_in(self):
        self.server.add_user('gone@localhost')
        self.secure().authenticate('gone', 'secret')
        self.server.ctl_ok('user', 'delete', 'gone@localhost')
        for mechanism in ('PLAIN', 'SCRAM-SHA-256'):
            self.assertEqual(self.refused(self.secure(), 'gone', 'secret', mechanism),
                             'not-authorized')

    def test_changed_password(self):
        self.server.add_user('change@localhost', 'old')
        self.secure().authenticate('change', 'old')
        self.server.ctl_ok('user', 'password', 'change@localhost', '--password', 'new')
        for mechanism in ('PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-512'):
            self.assertEqual(self.refused(self.secure(), 'change', 'old', mechanism),
                             'not-authorized')
            self.secure().authenticate('change', 'new', mechanism)

    def test_passwords_are_not_in_the_log(self):
        self.refused(self.secure(), 'juliet', 'Unmistakable', 'PLAIN')
        self.server.wait_log('login_failed')
        with open(self.server.log_path, encoding='utf-8') as f:
            self.assertNotIn('Unmistakable', f.read())


class Binding(Base):
    def test_wrong_binding_data(self):
        for type_ in ('tls-exporter', 'tls-server-end-point'):
            c = self.secure()
            self.assertEqual(self.refused(c, 'juliet', 'secret', 'SCRAM-SHA-256-PLUS',
                                          binding=(type_, b'x' * 32)), 'not-authorized')

    def test_binding_of_another_connection(self):
        other = self.secure()
        c = self.secure()
        self.assertEqual(self.refused(c, 'juliet', 'secret', 'SCRAM-SHA-256-PLUS',
                                      binding=other.binding('tls-exporter')), 'not-authorized')

    def test_unknown_binding_type(self):
        c = self.secure()
        self.assertEqual(self.refused(c, 'juliet', 'secret', 'SCRAM-SHA-256-PLUS',
                                      binding=('tls-unique', b'x' * 12)), 'not-authorized')

    def test_downgrade(self):
        """RFC 5802, 6: "y" from a client to which -PLUS was offered: somebody took the offer out."""
        for mechanism in SCRAMS:
            c = self.secure()
            self.assertEqual(self.refused(c, 'juliet', 'secret', mechanism, flag='y'),
                             'not-authorized')


class WithoutTls(Base):
    options = {'listen': {'tls': 'optional'}}

    def test_plain_is_neither_offered_nor_taken(self):
        c = self.client()
        c.open()
        self.assertEqual(c.mechanisms(), ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1'])
        self.assertIn(self.refused(c, 'juliet', 'secret', 'PLAIN'),
                      ('encryption-required', 'mechanism-too-weak', 'invalid-mechanism'))

    def test_plus_is_not_taken(self):
        c = self.client()
        c.open()
        self.assertIsNone(c.features.find('{urn:xmpp:sasl-cb:0}sasl-channel-binding'))
        self.assertEqual(self.refused(c, 'juliet', 'secret', 'SCRAM-SHA-256-PLUS',
                                      binding=('tls-exporter', b'x' * 32)), 'invalid-mechanism')

    def test_scram_in_clear(self):
        for flag in ('n', 'y'):                        # "y" is true here
            c = self.client()
            c.open()
            c.authenticate('juliet', 'secret', flag=flag)
            c.open()
            c.bind()

    def test_plain_after_starttls(self):
        c = self.client()
        c.open()
        c.starttls()
        c.open()
        c.authenticate('juliet', 'secret', 'PLAIN')


class Never(Base):
    options = {'host': {'plain': 'never', 'sasl_disable': 'SCRAM-SHA-1, SCRAM-SHA-1-PLUS'},
               'limits': {'auth_retries': 1}}

    def test_offer_follows_the_configuration(self):
        c = self.secure()
        self.assertEqual(c.mechanisms(), ['SCRAM-SHA-512-PLUS', 'SCRAM-SHA-256-PLUS',
                                          'SCRAM-SHA-512', 'SCRAM-SHA-256'])

    def test_what_is_not_offered_is_not_taken(self):
        for mechanism in ('PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-1-PLUS'):
            with self.subTest(mechanism):
                c = self.secure()
                self.assertEqual(self.refused(c, 'juliet', 'secret', mechanism),
                                 'invalid-mechanism')

    def test_one_wrong_password_ends_the_stream(self):
        c = self.secure()
        self.refused(c, 'juliet', 'wrong')
        self.assertEqual(c.ended(), 'policy-violation')     # auth_retries = 1


if __name__ == '__main__':
    tap.main()
