"""tests/wire/test_sessiondb.py: mod_sessiondb with a real store: kill -9 and a new start, a new version of
the module under live sessions, its commands."""
import shutil
import unittest

import tap
from server import BUILD, Server
from xmpp import Client


class SessionDb(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=['presence', 'sessiondb'])
        self.addCleanup(self.server.stop)

    def start(self):
        self.server.start()
        self.server.add_user('juliet@localhost')

    def online(self, resource):
        c = Client(self.server).login('juliet@localhost', resource=resource)
        self.addCleanup(c.abort)
        c.send('<presence><priority>3</priority></presence>')
        c.sync()
        return c

    def rows(self):
        return {r['resource']: (r['available'], r['priority'], r['server'])
                for r in self.server.ctl_json('sessiondb', 'list', 'juliet@localhost')}

    def test_rows_of_a_killed_server_are_purged(self):
        self.start()
        self.online('a')
        self.online('b')
        self.assertEqual(self.rows(), {'a': ('yes', 3, 'local'), 'b': ('yes', 3, 'local')})
        self.server.kill()
        self.server.start()
        self.server.wait_log(r'sessiondb\.purged')
        self.assertEqual(self.rows(), {})
        c = self.online('a')                        # the same resource again
        self.assertEqual(c.jid, 'juliet@localhost/a')
        self.assertEqual(self.rows(), {'a': ('yes', 3, 'local')})

    def test_rows_of_another_server_stay(self):
        self.start()
        self.online('a')
        self.server.kill()
        self.server.set('server', server_id='second')
        self.server.start()
        c = self.online('a')                        # in use, over there
        self.assertNotEqual(c.jid, 'juliet@localhost/a')
        self.assertEqual({r[2] for r in self.rows().values()}, {'local', 'second'})
        self.server.ctl_ok('sessiondb', 'kill', 'juliet@localhost/a')
        self.assertEqual([r[2] for r in self.rows().values()], ['second'])
        self.assertEqual(self.online('a').jid, 'juliet@localhost/a')

    def test_rows_survive_a_new_version_of_the_module(self):
        folder = f'{self.server.dir}/modules'
        shutil.copytree(f'{BUILD}/modules', folder)
        self.server.set('server', module_path=folder)
        self.start()
        a, b = self.online('a'), self.online('b')
        with open(f'{folder}/mod_sessiondb.so', 'rb') as f:
            image = f.read()
        with open(f'{folder}/new', 'wb') as f:
            f.write(image + b'another version')
        shutil.move(f'{folder}/new', f'{folder}/mod_sessiondb.so')
        since = self.server.log_now()
        self.assertTrue(self.server.reload())
        self.server.wait_log(r'mod_sessiondb', since)
        self.assertEqual(self.rows(), {'a': ('yes', 3, 'local'), 'b': ('yes', 3, 'local')})
        b.silent()
        b.close()
        a.send('<presence><priority>9</priority></presence>')
        a.sync()
        self.assertEqual(self.rows(), {'a': ('yes', 9, 'local')})

    def test_kill(self):
        self.start()
        c = self.online('a')
        self.server.ctl_ok('sessiondb', 'kill', 'juliet@localhost/a')
        self.assertEqual(c.ended(), 'conflict')
        self.assertEqual(self.rows(), {})
        for jid, why in (('juliet@localhost/a', 'not there'), ('juliet@localhost', 'no resource')):
            p = self.server.ctl('sessiondb', 'kill', jid)
            self.assertEqual((p.returncode, p.stdout), (1, ''))
            self.assertIn(why, p.stderr)


if __name__ == '__main__':
    tap.main()
