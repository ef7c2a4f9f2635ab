"""tests/wire/test_regress.py: bugs that only showed on the wire. Each case is named after what went
wrong.  test-timeout: 200"""
import unittest

import tap
from server import Server
from xmpp import Client, stanza_error


class Base(unittest.TestCase):
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.server = Server(**cls.options).start()
        for name in ('juliet', 'romeo', 'nurse'):
            cls.server.add_user(f'{name}@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        c = Client(self.server, **options)
        self.addCleanup(c.abort)
        return c


class Lost(Base):
    options = {'limits': {'output_high': '64MiB', 'output_hard': '128MiB', 'output_timeout': '60s'}}

    def test_request_to_a_stream_that_ends_unread_is_answered(self):
        """RFC 6120, 8.2.3: exactly one answer, also when the recipient closed its stream and reads
        no more: what lingers in its output is given up after a while."""
        romeo = self.client(rcvbuf=4096).login('romeo@localhost', resource='garden')
        juliet = self.client().login('juliet@localhost', resource='balcony')
        text = 'x' * 100000
        for _ in range(100):                           # more than any kernel keeps
            juliet.send("<message to='romeo@localhost/garden' type='headline'>"
                        f'<body>{text}</body></message>')
        juliet.send("<iq to='romeo@localhost/garden' type='get' id='lost'><x xmlns='y'/></iq>")
        juliet.sync()                                  # all of it is in romeo's output
        romeo.send('</stream:stream>')
        answer = juliet.stanza('iq', id='lost', from_='romeo@localhost/garden')
        self.assertEqual(stanza_error(answer), ('cancel', 'service-unavailable'))


class Accounts(Base):
    def test_deleted_account_cannot_bind(self):
        nurse = self.client().authenticated('nurse@localhost')
        self.server.ctl_ok('user', 'delete', 'nurse@localhost')
        self.assertEqual(nurse.ended(), 'not-authorized')


class Header(Base):
    def test_leading_zeros_of_the_version(self):
        """RFC 6120, 4.7.5: MUST be ignored."""
        c = self.client()
        self.assertIsNotNone(c.open(version='01.0'))
        c.send("</stream:stream>")
        self.assertIsNone(c.ended())


if __name__ == '__main__':
    tap.main()
