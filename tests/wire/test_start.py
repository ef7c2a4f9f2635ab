"""tests/wire/test_start.py: what comes before anybody can connect.  test-loops: 4"""
import signal
import unittest

import tap
from server import BUILD, Server


class Leftovers(unittest.TestCase):
    """node_cleanup: run once with the server's own id, waited for before listeners open."""

    def server(self, wait):
        server = Server(modules=['leftover'], module_path=f'{BUILD}/tests/modules',
                        server={'server_id': 'node-7'})
        server.set('mod_leftover', wait=wait)
        return server

    def place(self, server, name):
        return [i for i, line in enumerate(server.lines) if name in line]

    def test_listeners_wait(self):
        server = self.server('300ms').start()
        self.addCleanup(server.stop)
        begun, done, open_ = (self.place(server, n) for n in
                              ('leftover.begun', 'leftover.done', 'server.listening'))
        self.assertEqual((len(begun), len(done)), (1, 1))
        self.assertLess(begun[0], done[0])
        self.assertLess(done[0], open_[0])
        self.assertIn('node-7', server.lines[begun[0]])
        server.ctl_ok('reload')
        self.assertEqual(len(self.place(server, 'leftover.begun')), 1)

    def test_a_signal_ends_the_wait(self):
        server = self.server('20s')
        server.spawn()
        server.wait_log('leftover.begun')
        server.signal(signal.SIGHUP)                   # nothing to reload yet
        server.wait_log('reload.refused: the server is starting')
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait_end(), 0)
        self.assertEqual(self.place(server, 'server.listening'), [])
        self.assertEqual(self.place(server, 'leftover.done'), [])


if __name__ == '__main__':
    tap.main()
