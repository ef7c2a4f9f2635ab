"""tests/wire/test_tokens.py: `grapnelctl token issue` and logging in with what it says (backends.md 2);
what the log tells about a login that fails."""
import unittest

import tap
from server import Server
from xmpp import Client, Failure


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(host={'token_max_age': '1h'}).start()
        cls.server.add_user('juliet@localhost')
        cls.server.add_user('romeo@localhost')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self):
        c = Client(self.server)
        self.addCleanup(c.abort)
        c.secure()
        return c

    def issue(self, jid):
        row, = self.server.ctl_json('token', 'issue', jid)
        self.assertEqual(row['seconds'], 3600)
        return row['password']

    def refused(self, user, password):
        with self.assertRaises(Failure) as caught:
            self.client().authenticate(user, password, 'PLAIN')
        return caught.exception.condition

    def test_issue_and_log_in(self):
        token = self.issue('juliet@localhost')
        self.assertTrue(token.startswith('//juliet@localhost/v1.'), token)
        for _ in range(2):
            c = self.client()
            c.authenticate('juliet', token, 'PLAIN')
            c.open()
            self.assertTrue(c.bind().startswith('juliet@localhost/'))
        self.server.restart()                       # the key is the same at every start
        self.client().authenticate('juliet', token, 'PLAIN')
        self.assertEqual(self.refused('romeo', token), 'not-authorized')
        self.assertEqual(self.refused('juliet', token[:-1]), 'not-authorized')
        with open(self.server.log_path, encoding='utf-8') as f:
            self.assertNotIn(token[-20:], f.read())

    def test_nobody_to_issue_for(self):
        for jid in ('nobody@localhost', 'localhost'):
            p = self.server.ctl('token', 'issue', jid)
            self.assertEqual((p.returncode, p.stdout), (1, ''))
            self.assertIn(jid, p.stderr)

    def test_removed_account(self):
        self.server.add_user('gone@localhost')
        token = self.issue('gone@localhost')
        self.client().authenticate('gone', token, 'PLAIN')
        self.server.ctl_ok('user', 'delete', 'gone@localhost')
        self.assertEqual(self.refused('gone', token), 'not-authorized')

    def test_the_log_knows_more_than_the_client(self):
        """An unknown account and a wrong password: one answer, two reasons."""
        self.assertEqual(self.refused('juliet', 'wrong'), 'not-authorized')
        self.server.wait_log('user=juliet@localhost mech=PLAIN reason=wrong password')
        self.assertEqual(self.refused('nobody', 'wrong'), 'not-authorized')
        self.server.wait_log('user=nobody@localhost mech=PLAIN reason=no such account')
        with self.assertRaises(Failure):
            self.client().authenticate('nobody', 'wrong', 'SCRAM-SHA-256')
        self.server.wait_log('user=nobody@localhost mech=SCRAM-SHA-256 reason=no such account')


if __name__ == '__main__':
    tap.main()
