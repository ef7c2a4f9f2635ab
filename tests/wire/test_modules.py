"""tests/wire/test_modules.py: modules switched on and off while the server runs and clients are
connected: all or nothing, until the server stops, never against what others need; and what
`grapnelctl modules` tells."""
import unittest

import tap
from server import BUILD, HOST, HOST2, LOOPS, Server
from xmpp import Client

PING = 'urn:xmpp:ping'


class Base(unittest.TestCase):
    def serve(self, *args, **options):
        self.server = Server(*args, **options).start()
        self.addCleanup(self.server.stop)
        for host in (HOST, HOST2):
            self.server.add_user(f'juliet@{host}')
        return self.server

    def login(self, host=HOST):
        c = Client(self.server, host=host).login(f'juliet@{host}')
        self.addCleanup(c.abort)
        return c

    def pings(self, client, host=HOST):
        """Whether the host answers pings."""
        answer = client.request(f"<iq type='get' id='{{id}}' to='{host}'><ping xmlns='{PING}'/></iq>")
        return answer.get('type') == 'result'

    def refused(self, *words):
        p = self.server.ctl(*words)
        self.assertEqual(p.returncode, 1, p.stdout)
        self.assertEqual(p.stdout, '')
        return p.stderr

    def states(self, module):
        """{host: state} of the rows of that module."""
        return {r['host']: r['state'] for r in self.server.ctl_json('modules')
                if r['module'] == module}


class Load(Base):
    def test_load_and_unload(self):
        self.serve()
        c = self.login()
        self.assertFalse(self.pings(c))
        said = self.server.ctl_ok('module', 'load', 'ping')
        self.assertIn('mod_ping: loaded on every host', said)
        self.assertIn(f'until the server stops; to keep it so, write [mod_ping] to {self.server.ini}', said)
        self.assertTrue(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {HOST: 'by hand', HOST2: 'by hand'})
        said = self.server.ctl_ok('module', 'unload', 'mod_ping')
        self.assertIn('mod_ping: unloaded on every host', said)
        self.assertFalse(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {})
        c.silent()

    def test_it_outlives_reloads_but_not_the_server(self):
        self.serve()
        c = self.login()
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertTrue(self.server.reload())
        self.server.ctl_ok('reload')
        self.server.set('limits', login_timeout='7s')
        self.assertIn('login_timeout', self.server.ctl_ok('reload'))
        self.assertTrue(self.pings(c))
        self.server.restart()
        self.assertFalse(self.pings(self.login()))

    def test_one_host(self):
        self.serve()
        here, there = self.login(HOST), self.login(HOST2)
        said = self.server.ctl_ok('module', 'load', 'ping', '--host', HOST.upper())
        self.assertIn(f'mod_ping: loaded on {HOST}', said)
        self.assertIn(f'write [mod_ping {HOST}] to', said)
        self.assertTrue(self.pings(here, HOST))
        self.assertFalse(self.pings(there, HOST2))
        self.assertIn(f'mod_ping is loaded already on {HOST}',
                      self.refused('module', 'load', 'ping', '--host', HOST))
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertTrue(self.pings(there, HOST2))
        self.assertIn('mod_ping is loaded already on every host', self.refused('module', 'load', 'ping'))
        self.server.ctl_ok('module', 'unload', 'ping', '--host', HOST)
        self.assertFalse(self.pings(here, HOST))
        self.assertTrue(self.pings(there, HOST2))
        self.server.ctl_ok('module', 'unload', 'ping')
        self.assertFalse(self.pings(there, HOST2))
        self.assertIn('mod_ping is not loaded on any host', self.refused('module', 'unload', 'ping'))

    def test_options_come_from_the_file(self):
        self.serve()
        self.server.set('mod_ping', enabled='no', ping_interval='3m')
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})
        self.server.ctl_ok('module', 'load', 'ping')
        self.assertEqual(self.states('mod_ping'), {HOST: 'by hand', HOST2: 'by hand'})
        self.server.set('mod_ping', ping_interval='soon')
        self.assertRegex(self.refused('reload'), r'grapnel\.ini:\d+: .*ping_interval')
        self.server.set('mod_ping', ping_interval='5m')
        self.assertIn('[mod_ping] ping_interval: 3m -> 5m', self.server.ctl_ok('reload'))

    def test_what_the_configuration_has_can_be_unloaded(self):
        self.serve(modules=['ping'])
        c = self.login()
        self.assertTrue(self.pings(c))
        said = self.server.ctl_ok('module', 'unload', 'ping')
        self.assertIn('write `enabled = no` in [mod_ping] to', said)
        self.assertFalse(self.pings(c))
        self.assertEqual(self.states('mod_ping'), {'*': 'unloaded by hand'})
        self.server.ctl_ok('reload')
        self.assertFalse(self.pings(c))
        self.server.drop('mod_ping')                   # made to last: nothing is left to remember
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})
        self.server.set('mod_ping')
        self.server.ctl_ok('reload')
        self.assertTrue(self.pings(c))

    def test_made_to_last(self):
        self.serve()
        self.server.ctl_ok('module', 'load', 'ping')
        self.server.set('mod_ping')
        self.assertIn('[mod_ping]: added', self.server.ctl_ok('reload'))
        self.assertEqual(self.states('mod_ping'), {HOST: '', HOST2: ''})
        self.server.drop('mod_ping')
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})

    def test_a_host_that_goes_takes_its_entry_along(self):
        self.serve()
        self.server.ctl_ok('module', 'load', 'ping', HOST2)
        section = self.server.sections[f'host {HOST2}']
        self.server.drop(f'host {HOST2}')
        self.server.ctl_ok('reload')
        self.server.set(f'host {HOST2}', **section)
        self.server.ctl_ok('reload')
        self.assertEqual(self.states('mod_ping'), {})

    def test_refusals(self):
        self.serve(modules=['roster', 'everyone_roster'])
        c = self.login()
        for name in ('auth', 'mod_sm', 'admin'):
            self.assertIn('is a part of the server', self.refused('module', 'unload', name))
        self.assertIn('there is no module mod_pign: did you mean mod_ping?',
                      self.refused('module', 'load', 'pign'))
        self.assertRegex(self.refused('module', 'load', 'nothing_like_it'),
                         r'mod_nothing_like_it is not loaded, nothing has changed:\n'
                         r'there is no mod_nothing_like_it\.so in module_path .*: install it\n')
        self.assertIn('far.example is not served here',
                      self.refused('module', 'load', 'ping', '--host', 'far.example'))
        self.assertIn('is not served here', self.refused('module', 'load', 'ping', '--host', '@'))
        self.assertRegex(self.refused('module', 'unload', 'roster'),
                         r'(?s)mod_roster is not unloaded, nothing has changed:.*needs mod_roster')
        self.assertEqual(self.states('mod_roster'), {HOST: '', HOST2: ''})
        self.assertIn('missing argument', self.refused('module', 'load'))
        self.assertIn('unknown command', self.refused('module'))
        self.assertIn('unknown command', self.refused('module', 'laod', 'ping'))
        self.assertIn('too many arguments', self.refused('module', 'load', 'ping', HOST, 'x'))
        self.assertFalse(self.pings(c))
        self.assertTrue(self.server.has_logged(r'reload\.refused: '))

    def test_all_or_nothing(self):
        """Something else in the configuration is wrong meanwhile."""
        self.serve()
        c = self.login()
        self.server.set('mod_version', no_such_option='1')
        said = self.refused('module', 'load', 'ping')
        self.assertIn('no_such_option', said)
        self.assertFalse(self.pings(c))
        self.server.drop('mod_version')
        self.server.ctl_ok('reload')
        self.assertFalse(self.pings(c))               # it was not remembered


class List(Base):
    def test_one_row_per_host(self):
        self.serve(modules=['ping'])
        c = self.login()
        for _ in range(3):
            self.pings(c)
        rows = self.server.ctl_json('module', 'list')
        self.assertEqual([(r['module'], r['host']) for r in rows],
                         [(r['module'], r['host']) for r in self.server.ctl_json('modules')])
        mine = [r for r in rows if r['module'] == 'mod_ping']
        self.assertEqual([r['host'] for r in mine], [HOST, HOST2])
        self.assertGreaterEqual(mine[0]['calls'], 3)
        self.assertGreater(mine[0]['bytes'], 0)
        self.assertEqual(mine[0]['file'], f'{BUILD}/modules/mod_ping.so')
        self.assertNotIn('loop', mine[0])

    def test_loops(self):
        self.serve(modules=['ping'])
        c = self.login()
        for _ in range(3):
            self.pings(c)
        rows = [r for r in self.server.ctl_json('modules', '--loops')
                if (r['module'], r['host']) == ('mod_ping', HOST)]
        self.assertEqual([r['loop'] for r in rows], list(range(int(LOOPS))))
        total, = [r for r in self.server.ctl_json('modules')
                  if (r['module'], r['host']) == ('mod_ping', HOST)]
        self.assertEqual(sum(r['calls'] for r in rows), total['calls'])
        self.assertIn('unknown option', self.refused('modules', '--lops'))
        self.assertIn('too many arguments', self.refused('modules', '--loops', 'x'))


class Reload(Base):
    def test_of_one_module(self):
        self.serve(modules=['ping'])
        self.assertEqual(self.server.ctl_json('module', 'reload', 'ping'),
                         [{'change': 'mod_ping: no change: its file and its options are those in use'}])
        self.server.set('mod_ping', ping_interval='3m')
        said = self.server.ctl_ok('module', 'reload', 'mod_ping')
        self.assertIn('[mod_ping] ping_interval: (default) -> 3m (live)', said)
        self.assertNotIn('no change', said)
        self.assertEqual(self.server.ctl_json('module', 'reload'), [])
        self.assertIn('mod_pong is not loaded on any host', self.refused('module', 'reload', 'pong'))


if __name__ == '__main__':
    tap.main()
