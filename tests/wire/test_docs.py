"""tests/wire/test_docs.py: what README.md, docs/, config/ and packaging/ say is what the build does:
commands are run, configurations checked, C compiled against the installed headers, tables compared with
the server's own lists. A fenced block is named by a comment before it, <!-- test: NAME -->.
test-loops: 1"""
import glob
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import unittest

import tap
from server import BUILD, GRAPNEL, GRAPNELCTL, HOST, SRC, TIMEOUT, TMP, Server, certificate
from xmpp import CLIENT, Client, Failure, text_of

ADMIN, MODULES, README = 'docs/admin.md', 'docs/modules.md', 'README.md'
CERT = '/etc/grapnel/certs/'


def read(path):
    with open(path if path.startswith('/') else f'{SRC}/{path}', encoding='utf-8') as f:
        return f.read()


def write(path, text, mode=0o600):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
    os.chmod(path, mode)


def blocks(path):
    """(language, name or None, text) of the fenced blocks."""
    for m in re.finditer(r'(?:<!-- (?:test: )?([^>]*?) -->\n)?```(\w+)\n(.*?)^```$', read(path),
                         re.M | re.S):
        yield m.group(2), m.group(1), m.group(3)


def block(path, name):
    found = [text for _, n, text in blocks(path) if n == name]
    assert len(found) == 1, f'{path}: {len(found)} blocks called {name}'
    return found[0]


def rows(path, first_cell):
    """The cells of the table whose head starts with that cell."""
    lines = read(path).split('\n')
    at = next(i for i, line in enumerate(lines) if line.startswith(f'| {first_cell} |'))
    for line in lines[at + 2:]:
        if not line.startswith('|'):
            return
        yield [c.strip().replace('\\|', '|') for c in re.split(r'(?<!\\)\|', line)[1:-1]]


def words(cell):
    return re.findall(r'`([^`]+)`', cell)


def run(argv, status=0, **options):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=4 * TIMEOUT, check=False,
                       **options)
    assert p.returncode == status, f'{argv}: status {p.returncode}\n{p.stdout}{p.stderr}'
    return p.stdout + p.stderr


def sources():
    """All C text of the server and its modules, adjacent literals joined."""
    text = ''
    for folder in ('core', 'modules'):
        for path in sorted(glob.glob(f'{SRC}/{folder}/**/*.c', recursive=True)):
            text += read(path)
    return re.sub(r'"\s*\n\s*"', '', text).replace('\\"', '"')


def defaults():
    """{section: {option: default}} as `grapnel --options` prints them."""
    out, section = {}, None
    for line in run([GRAPNEL, '--options']).split('\n'):
        head, option = re.match(r';?\[(\w+)', line), re.match(r';(\w+) = ?(.*)', line)
        if head:
            section = out.setdefault(head.group(1), {})
        elif option:
            section[option.group(1)] = option.group(2)
    return out


def adapt(text, folder, path=f'{BUILD}/modules'):
    """A configuration from a document as one that can be judged here: its sections, completed, with
    files of this machine. (What may be wrong with it is everything else.)"""
    text = re.sub(r'^(data_dir +=).*', rf'\1 {folder}/data', text, flags=re.M)
    text = re.sub(r'^(module_path +=).*', rf'\1 {path}', text, flags=re.M)
    pem = certificate('example.org')
    text = re.sub(r'^(certificate +=).*', lambda m: f'{m.group(1)} {pem}', text,
                  flags=re.M)
    text = re.sub(r'^port +=.*', 'port = any', text, flags=re.M)
    text = re.sub(r'^;?address +=.*', 'address = 127.0.0.1', text, flags=re.M)
    if '[server]' not in text:
        text += f'\n[server]\ndata_dir = {folder}/data\nmodule_path = {path}\n'
    if not re.search(r'^\[listen', text, re.M):
        text += '\n[listen c2s]\ntype = c2s\naddress = 127.0.0.1\nport = any\n'
    wanted = set(re.findall(r'^\[mod_\w+ (\S+)\]', text, re.M))
    present = set(re.findall(r'^\[host (\S+)\]', text, re.M))
    for host in sorted(wanted - present) or ([] if present else [HOST]):
        text += f'\n[host {host}]\n'
    if 'certificate' not in text and 'tls ' not in text: # nobody could log in otherwise
        text = re.sub(r'^(\[listen .*\])$', r'\1\ntls = optional', text, flags=re.M)
    return text


class Base(unittest.TestCase):
    count = 0

    def folder(self):
        Base.count += 1
        path = f'{TMP}/docs{Base.count}'
        os.makedirs(path)
        return path

    def check(self, text):
        folder = self.folder()
        write(f'{folder}/grapnel.ini', adapt(text, folder))
        return run([GRAPNEL, '--config', f'{folder}/grapnel.ini', '--check'])

    def check_links(self, top):
        """Of all pages there: the number of links."""
        found = 0
        for path in glob.glob(f'{top}/*.md') + glob.glob(f'{top}/docs/**/*.md', recursive=True) + \
                glob.glob(f'{top}/modules/**/*.md', recursive=True):
            for link in re.findall(r'\]\(([^)]+)\)', read(path)):
                if link.startswith('http'):
                    continue
                found += 1
                name, _, anchor = link.partition('#')
                there = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
                self.assertTrue(os.path.exists(there), f'{path}: {link}')
                if anchor:
                    headings = re.findall(r'^#+ (.*)$', read(there), re.M)
                    self.assertIn(anchor, {re.sub(r'[^a-z0-9 -]', '', h.lower()).replace(' ', '-')
                                           for h in headings}, path)
        return found

    def serve(self, *args, text=None, **options):
        server = Server(*args, **options)
        if text is not None:
            write(server.ini, adapt(text, server.dir))
        self.addCleanup(server.stop)
        return server.start()


class Texts(Base):
    def test_every_shell_block_is_run_or_says_why_not(self):
        for path in (README, ADMIN, MODULES):
            for language, name, text in blocks(path):
                if language == 'sh':
                    self.assertTrue(name, f'{path}: {text}')

    def test_every_link_leads_somewhere(self):
        self.assertGreater(self.check_links(SRC), 50)

    def test_help_needs_nothing(self):
        self.assertIn('--check', run([GRAPNEL, '--help'], env={}))
        self.assertIn('--json', run([GRAPNELCTL, '--help'], env={}))
        helped = run(['make', '-s', '-C', SRC, 'help'])
        for goal in set(re.findall(r'`make ([a-z-]+)', read(README))) | {'run', 'test', 'install'}:
            if goal != 'help':
                self.assertRegex(helped, rf'\b{goal}\b')

    def test_every_configuration_passes_check(self):
        found = 0
        pages = [README, ADMIN, MODULES] + sorted(glob.glob(f'{SRC}/modules/**/*.md', recursive=True))
        for path in pages:
            texts = [t for language, name, t in blocks(path)
                     if language == 'ini' and name not in ('fail2ban', 'greet.ini')]
            texts += [re.sub(r'^    ', '', t, flags=re.M)
                      for t in re.findall(r'^    \[mod_\w+[^\n]*\n(?:    [^\n]*\n|\n(?=    ))+',
                                          read(path), re.M)]
            for text in texts:
                found += 1
                with self.subTest(page=os.path.basename(path), text=text):
                    self.assertEqual(self.check(text), '')
        self.assertGreater(found, 5)

    def test_limits_table_is_complete(self):
        said = {words(r[0])[0]: r[1] for r in rows(ADMIN, 'option')}
        self.assertEqual(said, defaults()['limits'])

    def test_log_ids_exist(self):
        text = sources()
        for row in rows(ADMIN, 'id'):
            for name in words(row[0]):
                self.assertIn(f'"{name}"', text)

    def test_sentences_of_the_troubleshooting_table_exist(self):
        text = sources()
        for row in rows(ADMIN, 'it says'):
            for sentence in words(row[0]):
                for part in re.split(r' ?… ?|: Permission denied', sentence):
                    self.assertIn(part, text)

    def test_hooks_that_are_named_exist(self):
        declared = set(re.findall(r'^    X\((\w+),', read('include/grapnel/hook_list.h'), re.M))
        named = [n for row in rows(MODULES, 'hook') for n in words(row[0])]
        self.assertGreater(len(named), 10)
        for name in named:
            if not name.startswith('_'):
                self.assertIn(name, declared)
        # What other servers' names become: a hook, or something else that the headers have.
        headers = ''.join(read(p) for p in glob.glob(f'{SRC}/include/grapnel/*.h'))
        named = [n for row in rows(MODULES, 'Prosody') for n in words(row[2])]
        self.assertGreater(len(named), 40)
        for name in named:
            if name not in declared:
                self.assertRegex(name, r'^(\.|gr_|GR_)')
                self.assertRegex(headers, rf'\b{name.lstrip(".")}\b')

    def test_hooks_that_nobody_runs(self):
        text = re.search(r'<!-- test: not-run -->\n(.*?)\n\n', read(MODULES), re.S).group(1)
        run_somewhere = set(re.findall(r'\bGR_HOOK_([a-z]\w+)', sources()))
        for name in words(text):
            if name.endswith('*'):
                self.assertEqual([h for h in run_somewhere if h.startswith(name[:-1])], [])
            else:
                self.assertNotIn(name, run_somewhere)
        self.assertIn('user_send_packet', run_somewhere)


class Installed(Base):
    def test_make_install_puts_things_where_the_table_says(self):
        there = self.folder()
        run(['make', '-s', '-C', SRC, f'BUILD={BUILD}', f'DESTDIR={there}',
             'install-files'])
        for row in rows(ADMIN, '| with `PREFIX=/usr/local` (the default)'):
            for path in words(row[1]):
                if path.startswith('/usr/local'):
                    self.assertTrue(os.path.exists(there + path), path)
        docs = f'{there}/usr/local/share/doc/grapnel'
        self.assertTrue(os.path.exists(f'{docs}/modules/mod_ping.md'))
        self.assertEqual(self.check_links(docs), self.check_links(SRC))
        ini = f'{there}/etc/grapnel/grapnel.ini'
        self.assertEqual(os.stat(ini).st_mode & 0o777, 0o640)
        write(ini, '; mine')
        run(['make', '-s', '-C', SRC, f'BUILD={BUILD}', f'DESTDIR={there}',
             'install-files'])
        self.assertEqual(read(ini), '; mine')
        self.assertEqual(read(f'{ini}.sample'), read('config/grapnel.ini'))


class Sample(Base):
    def test_the_sample_passes_check(self):
        self.assertEqual(self.check(read('config/grapnel.ini')), '')

    def test_the_sample_serves(self):
        server = self.serve(text=read('config/grapnel.ini'))
        server.add_user('juliet@example.org')
        with Client(server, host='example.org') as c:
            c.login('juliet@example.org', 'secret')

    def test_options_in_comments_have_their_defaults(self):
        section, found = None, 0
        known = defaults()
        for line in read('config/grapnel.ini').split('\n'):
            head, option = re.match(r'\[(\w+)', line), re.match(r';(\w+) += +(.*?)(?: +;.*)?$', line)
            if head:
                section = head.group(1)
            elif option:
                found += 1
                self.assertEqual(known[section][option.group(1)], option.group(2), line)
        self.assertGreater(found, 5)

    def test_the_sample_names_the_modules_of_the_readme(self):
        said = {m for r in rows(README, 'module') for m in re.findall(r'mod_\w+', r[0])}
        here = set(re.findall(r'^\[(mod_\w+)\]', read('config/grapnel.ini'), re.M))
        self.assertEqual(said - here, {'mod_offline_stub', 'mod_everyone_roster', 'mod_domain_isolation',
                                       'mod_staff_roster', 'mod_sessiondb'})
        self.assertEqual(here - said, set())
        for name in said:
            self.assertTrue(os.path.exists(f'{BUILD}/modules/{name}.so'), name)

    def test_the_readme_says_what_is_off(self):
        on = set(re.findall(r'^\[(mod_\w+)\][^\n]*\n(?!enabled = no)', read('config/grapnel.ini'), re.M))
        for row in rows(README, 'module'):
            off = set(re.findall(r'mod_\w+', row[0])) - on
            self.assertEqual('off by default' in row[1], off != set(), row)
        self.assertIn('mod_roster', on)
        self.assertNotIn('mod_register', on)

    def run_here(self, folder, port):
        """What `make run` does with what is installed and built: scripts/run, in another folder."""
        if not os.path.exists(folder):
            os.makedirs(f'{folder}/scripts')
            os.symlink(BUILD, f'{folder}/build')
            os.symlink(f'{SRC}/config', f'{folder}/config')
            shutil.copy(f'{SRC}/scripts/run', f'{folder}/scripts')
            write(f'{folder}/scripts/deps', '#!/bin/sh\n', 0o700)
        p = subprocess.Popen([f'{folder}/scripts/run'], stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**os.environ, 'MAKE': 'true', 'GRAPNEL_PORT': str(port)})
        self.addCleanup(p.kill)
        return p

    def test_make_run(self):
        folder = f'{self.folder()}/src'
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            s.listen()
            port = s.getsockname()[1]
            said, errors = self.run_here(folder, port).communicate(timeout=TIMEOUT)
            self.assertEqual(said, '')
            self.assertRegex(errors, rf'port {port} is in use.*\n?.*GRAPNEL_PORT=')
        shutil.rmtree(f'{folder}/run')
        p = self.run_here(folder, port)
        self.assertEqual(p.stdout.readline(), 'add a user: build/grapnelctl --config run/grapnel.ini user '
                         'add you@localhost (it asks for a password)\n')
        self.assertRegex(p.stdout.readline(), rf'you@localhost.*port {port}')
        listed = json.loads(run([GRAPNELCTL, '--config', f'{folder}/run/grapnel.ini', '--json', 'modules']))
        on = set(re.findall(r'^\[(mod_\w+)\][^\n]*\n(?!enabled = no)', read('config/grapnel.ini'), re.M))
        self.assertEqual({m['module'] for m in listed if m['module'].startswith('mod_')}, on)
        p.send_signal(signal.SIGTERM)
        self.assertEqual(p.wait(TIMEOUT), 0)
        again = self.run_here(folder, 1)
        self.assertIn(f'this one says port {port}', again.stderr.readline())
        again.stdout.readline()
        again.send_signal(signal.SIGTERM)
        self.assertEqual(again.wait(TIMEOUT), 0)

    @unittest.skipUnless(shutil.which('systemd-analyze'), 'no systemd-analyze')
    def test_the_unit(self):
        path = f'{self.folder()}/grapnel.service'
        write(path, re.sub(r'=(grapnel(?:ctl)?) ', rf'={BUILD}/\1 ',
                           read('packaging/grapnel.service')))
        self.assertEqual(run(['systemd-analyze', 'verify', path]), '')
        told = run(['systemd-analyze', 'security', '--offline=true', path])
        self.assertLessEqual(float(re.search(r'exposure level for \S+: ([\d.]+)', told).group(1)), 1.5)


class Commands(Base):
    def test_readme_commands(self):
        server = self.serve()
        lines = re.findall(r'build/grapnelctl --config run/grapnel.ini (.*?) *(?:#.*)?$',
                           read(README), re.M)
        self.assertGreaterEqual(len(lines), 4)
        for line in lines:
            with self.subTest(line):
                words = line.split()
                if words[:2] == ['user', 'add']: # on a terminal it asks: test_ctl
                    words.append('--password-stdin')
                server.ctl_ok(*words, text='secret\n' if '--password-stdin' in words else None)
        self.assertEqual([u['jid'] for u in server.ctl_json('user', 'list', HOST)], ['romeo@localhost'])

    def test_command_table_is_what_help_lists(self):
        server = self.serve()
        said = {words(r[0])[0] for r in rows(ADMIN, 'command')} - {'help'}
        self.assertEqual(said, {c['command'] for c in server.ctl_json('help')})

    def test_commands_do_what_the_table_says(self):
        server = self.serve(host={'admins': 'juliet@localhost'})
        for name in ('juliet', 'nurse', 'romeo'):
            server.add_user(f'{name}@localhost')
        users = server.ctl_json('user', 'list', HOST, 'juliet', '1')
        self.assertEqual([(u['jid'], u['admin']) for u in users], [('nurse@localhost', 'no')])
        self.assertEqual(server.ctl_json('user', 'list', HOST)[0]['admin'], 'yes')
        server.ctl_ok('user', 'password', 'romeo@localhost', '--password', 'other')
        with Client(server) as c:
            c.login('romeo@localhost', 'other', resource='x')
            self.assertEqual(server.ctl_json('sessions')[0]['jid'], 'romeo@localhost/x')
            server.ctl_ok('user', 'password', 'romeo@localhost', '--password', 'third')
            self.assertEqual(c.ended(), 'reset')
            self.assertEqual(len(server.ctl_json('sessions')), 0)
        with Client(server) as c:
            c.login('romeo@localhost', 'third', resource='x')
            server.ctl_ok('user', 'delete', 'romeo@localhost')
            self.assertEqual(c.ended(), 'not-authorized')
        self.assertEqual(server.ctl('user', 'delete', 'romeo@localhost').returncode, 1)
        self.assertEqual(server.ctl_json('status')[0]['store'], 'ok')
        self.assertEqual(server.ctl().returncode, 2)
        line = block(ADMIN, 'json').split()
        self.assertEqual(line[0], 'grapnelctl')
        self.assertEqual(len(server.ctl_json(*line[2:-1], HOST)), 2)

    def test_socket_option_works_with_a_broken_configuration(self):
        server = self.serve()
        write(server.ini, '[server\n')
        self.assertEqual(server.ctl('status').returncode, 1)
        run([GRAPNELCTL, '--socket', f'{server.data}/grapnel.sock', 'status'])
        said = run([GRAPNELCTL, '--socket', f'{server.data}/grapnel.sock', 'reload'], status=1)
        self.assertIn('a section line ends with ]', said)
        server.wait_log(r'reload\.refused: .*a section line ends with')

    def test_what_waits_for_a_restart(self):
        row = next(r for r in rows(ADMIN, 'change') if '(`restart`)' in r[0])
        names = [n for n in words(row[0]) if n != 'restart']
        server = self.serve()
        values = {'data_dir': f'{server.dir}/other', 'ctl_socket': f'{server.dir}/sock', 'loops': 7,
                  'server_id': 'b', 'workers': 5, 'map_size': '1G',
                  'commit_delay': '2ms'}
        self.assertEqual(set(names), {*values, 'password_queue'})
        since = server.log_now()
        server.set('server', log_level='warn', **values)
        server.set('limits', password_queue=7)
        said = run([GRAPNELCTL, '--socket', f'{server.data}/grapnel.sock', 'reload'])
        for name in names:
            self.assertRegex(said, rf'\[(server|limits)\] {name}: .* \(needs a restart\)')
        self.assertRegex(said, r'\[server\] log_level: info -> warn \(live\)')
        said = run([GRAPNELCTL, '--socket', f'{server.data}/grapnel.sock', 'reload'])
        self.assertEqual(len(said.splitlines()), len(names) + 1, said)  # and the pause
        server.set('server', log_level='much')
        run([GRAPNELCTL, '--socket', f'{server.data}/grapnel.sock', 'reload'], status=1)
        server.wait_log(r'reload\.refused', since)
        self.assertFalse(server.has_logged(r'reload\.done', since))      # from then on a warning is the least

    def test_what_a_reload_opens_anew(self):
        row = next(r for r in rows(ADMIN, 'change') if '(`rebind`)' in r[0])
        server = self.serve()
        self.assertEqual(words(row[0])[:-1], ['type', 'address', 'port', 'tls', 'max_per_ip'])
        server.set('listen c2s', tls='optional')
        self.assertRegex(server.ctl_ok('reload'), r'tls: required -> optional \(the listener is opened anew\)')
        limits = next(r for r in rows(ADMIN, 'change') if 'for every listener' in r[1])
        for name in words(limits[0]):
            with self.subTest(name):
                since = server.log_now()
                server.set('limits', **{name: 77})
                self.assertRegex(server.ctl_ok('reload'), rf'{name}: .* -> 77 \(the listener is opened anew\)')
                server.wait_log(r'server\.listening: c2s', since)

    def test_fail2ban_line(self):
        regex = re.search(r'failregex += (.*)', block(ADMIN, 'fail2ban')).group(1)
        server = self.serve()
        server.add_user('juliet@localhost')
        since = server.log_now()
        with Client(server) as c:
            self.assertRaises(Failure, c.login, 'juliet@localhost', 'wrong')
        line = server.wait_log(regex.replace('<HOST>', r'(?P<host>\S+)'), since)
        self.assertEqual(line.group('host'), '127.0.0.1')

    def test_backup(self):
        server = self.serve()
        server.add_user('juliet@localhost')
        server.stop()
        copy = self.folder()
        script = block(ADMIN, 'backup').replace('/var/backups', copy)
        script = script.replace('/var/lib/grapnel', server.data)
        self.assertEqual(script.count('systemctl'), 2)
        run(['sh', '-euc', re.sub(r'^systemctl.*', ':', script, flags=re.M)])
        shutil.rmtree(server.data)
        os.mkdir(server.data)
        for name in ('data.mdb', 'secret'):
            shutil.copy(glob.glob(f'{copy}/grapnel-*/{name}')[0], server.data)
        server.start()
        with Client(server) as c:
            c.login('juliet@localhost', 'secret')
        kept = {n for r in rows(ADMIN, 'file') for n in words(r[0])}
        self.assertEqual(kept, set(os.listdir(server.data)))


class Hooks(unittest.TestCase):
    def test_page_of_hooks(self):
        """docs/hooks.md is the list's, and every hook is run or says whom it waits for."""
        run([f'{SRC}/scripts/hooks-doc', '--check'])


class Certificates(Base):
    def make(self):
        """docs/admin.md, own authority: the folder with ca.crt and example.org.pem."""
        folder = self.folder()
        run(['sh', '-euc', block(ADMIN, 'own-ca')], cwd=folder)
        return folder

    def shown(self, server, ca):
        """The certificate that the server shows to somebody who trusts that authority."""
        context = ssl.create_default_context(cafile=ca)
        with socket.create_connection(('127.0.0.1', server.port), TIMEOUT) as s:
            with context.wrap_socket(s, server_hostname='example.org') as t:
                return ssl.DER_cert_to_PEM_cert(t.getpeercert(True)).strip()

    def test_own_authority_and_certbot_hook(self):
        made = self.make()
        server = self.serve(hosts=('example.org',), host={'certificate': f'{made}/example.org.pem'})
        self.assertIn(self.shown(server, f'{made}/ca.crt'), read(f'{made}/server.crt'))
        self.assertFalse(server.has_logged(r'tls\.'))

        new = self.make()
        live = self.folder()
        shutil.copy(f'{new}/server.key', f'{live}/privkey.pem')
        shutil.copy(f'{new}/server.crt', f'{live}/fullchain.pem')
        hook = block(ADMIN, 'certbot-hook')
        for old, here in ((CERT, f'{made}/'), ('chgrp grapnel', f'chgrp {os.getgid()}'),
                          ('grapnelctl ', f'{GRAPNELCTL} --config {server.ini} ')):
            self.assertEqual(hook.count(old), 1, old)
            hook = hook.replace(old, here)
        write(f'{live}/hook', hook, 0o700)
        run([f'{live}/hook'], env={**os.environ, 'RENEWED_LINEAGE': live})
        self.assertIn(self.shown(server, f'{new}/ca.crt'), read(f'{new}/server.crt'))
        self.assertEqual(os.stat(f'{made}/example.org.pem').st_mode & 0o777, 0o640)


# What makes the pieces of docs/modules.md one module, and lets the test look into it.
PIECES = r'''
static const struct gr_coll both[] = { GR_MAP("vip"), GR_MAP("notes"), GR_COLL_END };
static const struct gr_iq both_iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST | GR_TO_ACCOUNT | GR_OWN, NS, "dice", on_roll),
    GR_IQ(GR_IQ_SET, GR_TO_ACCOUNT | GR_OWN, "urn:example:notes", "note", on_set),
    GR_IQ_END
};
static const struct gr_hook all_hooks[] = {
    GR_ON(user_send_message, GR_PRIO_NORMAL, on_message),
    GR_ON(user_send_message, GR_PRIO_LATE, count),
    GR_ON(filter_local_packet, GR_PRIO_NORMAL, on_local),
    GR_HOOK_END
};

struct asking { struct gr_cmd *cmd; };

static void on_note(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    struct gr_cmd *cmd = ((struct asking *)gr_req_data(req))->cmd;
    struct gr_account *a = gr_account_find(self, gr_cmd_jid(cmd, "jid"));
    struct gr_session *s = a != NULL ? gr_account_next(a, NULL) : NULL;
    const struct typing *t = s != NULL ? gr_session_slot_peek(self, s, &typing_slot) : NULL;

    gr_cmd_row(cmd);
    gr_cmd_number(cmd, "letters", t != NULL ? (int64_t)t->letters : 0);
    if (rows->rc == 0)
        gr_cmd_field(cmd, "note", "%.*s", (int)rows->row->val_len, (const char *)rows->row->val);
    gr_cmd_done(cmd);
}

static void letters(struct gr_mod *self, struct gr_cmd *cmd)
{
    struct gr_req *req = gr_req_new(self, sizeof(struct asking), on_note);

    ((struct asking *)gr_req_data(req))->cmd = cmd;
    gr_store_get(req, &both[1], gr_cmd_jid(cmd, "jid")->bare, "note", 4);
}

static void on_kept(struct gr_mod *self, struct gr_req *req, const struct gr_rows *rows)
{
    (void)self, (void)rows;
    gr_cmd_done(((struct asking *)gr_req_data(req))->cmd);
}

static void vip(struct gr_mod *self, struct gr_cmd *cmd)
{
    const struct gr_jid *jid = gr_cmd_jid(cmd, "jid");
    struct gr_req *req = gr_req_new(self, sizeof(struct asking), on_kept);
    struct gr_txn *t = gr_txn_new(self);

    ((struct asking *)gr_req_data(req))->cmd = cmd;
    gr_txn_put(t, &both[0], jid->bare, jid->bare, jid->bare_len, "", 0);
    gr_txn_commit(t, req);
}

static const struct gr_command all_commands[] = {
    { "example online", "whether an account is online", who, GR_RUN_HOME, run_online },
    { "pieces letters", "what the slot and the store have", who, GR_RUN_HOME, letters },
    { "pieces vip", "lets somebody write to himself", who, GR_RUN_HOME, vip },
    GR_COMMAND_END
};

GR_MODULE(pieces, .summary = "the pieces of the guide", .collections = both, .iqs = both_iqs,
          .hooks = all_hooks, .slots = slots, .commands = all_commands, .options = options,
          .conf_size = sizeof(struct example_conf), .state_size = sizeof(struct greet),
          .start = start, .save = save, .restore = restore);
'''


class Tutorial(Base):
    @classmethod
    def setUpClass(cls):
        cls.prefix = f'{TMP}/prefix'
        run(['make', '-s', '-C', SRC, f'BUILD={BUILD}', f'PREFIX={cls.prefix}', 'install-files'])
        cls.env = {k: v for k, v in os.environ.items() if k != 'GRAPNEL_TEST_LOOPS'}
        cls.env['PKG_CONFIG_PATH'] = f'{cls.prefix}/lib/pkgconfig'

    def flags(self):
        return run(['sh', '-euc', block(MODULES, 'pkg-config')], env=self.env).split()

    def test_every_piece_of_c_compiles(self):
        flags = [f for f in self.flags() if not f.startswith(('-Wl', '-shared'))]
        path = f'{self.folder()}/piece.c'
        pieces = [t for language, _, t in blocks(MODULES) if language == 'c']
        self.assertGreater(len(pieces), 7)
        for piece in pieces:
            write(path, f'#include <grapnel/module.h>\n#include <string.h>\n{piece}')
            for compiler in filter(shutil.which, ('gcc', 'clang')):
                with self.subTest(compiler=compiler, piece=piece):
                    run([compiler, *flags, '-fsyntax-only', '-Wall', '-Wextra', '-Werror',
                         '-Wno-unused-function', '-Wno-unused-variable',
                         '-Wno-unused-const-variable', path])

    def greet(self, folder, source):
        """Compiles and installs the module as the guide says."""
        write(f'{folder}/mod_greet.c', source)
        write(f'{folder}/Makefile', block(MODULES, 'Makefile'))
        said = run(['make', '-C', folder, 'install'], env=self.env)
        self.assertNotIn('warning', said)
        return f'{self.prefix}/lib/grapnel/modules'

    def greeting(self, server):
        with Client(server) as c:
            c.login('juliet@localhost', 'secret')
            return text_of(c.element(f'{{{CLIENT}}}message'), 'body')

    def test_tutorial(self):
        folder, source = self.folder(), block(MODULES, 'mod_greet.c')
        self.assertLessEqual(len(source.strip().split('\n')), 30)
        server = self.serve(module_path=self.greet(folder, source))
        server.add_user('juliet@localhost')
        server.conf_d('greet.ini', block(MODULES, 'greet.ini'))
        lines = [line.split()[1:] for line in block(MODULES, 'greet-commands').strip().split('\n')]
        self.assertEqual([line[0] for line in lines], ['reload', 'modules', 'hooks'])
        told = [server.ctl_ok(*line) for line in lines]
        self.assertIn('[mod_greet]: added (live)', told[0])
        self.assertRegex(told[1], r'mod_greet +localhost +0')
        self.assertRegex(told[2], r'sm_register_connection +90 +mod_greet')
        self.assertEqual(self.greeting(server), 'You are number 1.')
        self.assertEqual(self.greeting(server), 'You are number 2.')

        self.greet(folder, source.replace('You are', 'You were'))
        self.assertIn('mod_greet: new code', server.ctl_ok('reload'))
        self.assertEqual(self.greeting(server), 'You were number 1.')

        keeping = [t for language, _, t in blocks(MODULES) if language == 'c' and 'gr_bag_put' in t]
        functions = keeping[0].replace('struct greet { uint64_t count; };', '')
        source = source.replace('static const struct gr_hook',
                                f'{functions}\nstatic const struct gr_hook')
        source = source.replace('.hooks = hooks,',
                                '.hooks = hooks, .save = save, .restore = restore,')
        for number in (1, 2):
            self.greet(folder, source.replace('greets everybody', f'greets everybody ({number})'))
            self.assertIn('mod_greet: new code', server.ctl_ok('reload'))
            self.assertEqual(self.greeting(server), f'You are number {number}.')

    def test_the_test_of_the_guide(self):
        folder = self.folder()
        for name in ('mod_greet.c', 'test_greet.c'):
            write(f'{folder}/{name}', block(MODULES, name))
        write(f'{folder}/Makefile', block(MODULES, 'Makefile'))
        run(['make', '-C', folder], env=self.env)
        told = run(['sh', '-euc', block(MODULES, 'test-greet')], cwd=folder, env=self.env)
        for loops in (1, 4):
            self.assertIn(f'greets_and_counts (loops: {loops})', told)
        self.assertNotIn('not ok', told)

    def test_the_beginning_of_a_module(self):
        folder = self.folder()
        env = {**self.env, 'PATH': f'{self.prefix}/bin:{os.environ["PATH"]}'}
        told = run(['sh', '-euc', block(MODULES, 'module-new')], cwd=folder, env=env)
        self.assertIn('ok 1 - greets_with_the_text', told)
        self.assertNotIn('not ok', told)

    def test_pieces_of_c_do_what_the_guide_says(self):
        """All of them as one module, used by a client."""
        folder = self.folder()
        pieces = [t for language, name, t in blocks(MODULES)
                  if language == 'c' and name is None]
        write(f'{folder}/mod_pieces.c',
              '#include <grapnel/module.h>\n#include <string.h>\n' + '\n'.join(pieces) + PIECES)
        run(['gcc', *self.flags(), '-o', f'{folder}/mod_pieces.so', f'{folder}/mod_pieces.c'])
        server = self.serve(module_path=folder, modules=['mod_pieces'])
        with Client(server) as c:
            c.secure()
            self.assertEqual(c.mechanisms(), ['PLAIN'])
        with Client(server) as c:
            c.login('guest@localhost', 'guest', mechanism='PLAIN')
            dice = c.request("<iq type='get' id='{id}' to='localhost'>"
                             "<dice xmlns='urn:example:dice'/></iq>")
            self.assertIn(int(dice[0].get('eyes')), range(1, 7))
            self.assertEqual(c.request("<iq type='set' id='{id}'><note xmlns='urn:example:notes'>"
                                       "Buy milk</note></iq>").get('type'), 'result')
            said = server.ctl_json('pieces', 'letters', 'guest@localhost')
            self.assertEqual((said[0]['letters'], said[0]['note']), (0, 'Buy milk'))
            for user, online in (('guest', 'yes'), ('who', 'no')):
                said = server.ctl_json('example', 'online', f'{user}@localhost')
                self.assertEqual(said[0]['online'], online)
            c.send(f"<message to='{c.jid}' type='chat' id='m1'><body>Hello</body></message>")
            c.sync()
            c.silent()                          # not on the list: dropped, after a look at the disk
            server.ctl_ok('pieces', 'vip', 'guest@localhost')
            c.send(f"<message to='{c.jid}' type='chat' id='m2'><body>Hello</body></message>")
            message = c.element(f'{{{CLIENT}}}message')
            self.assertEqual(message.get('id'), 'm2')
            self.assertIsNotNone(message.find('{urn:example:seen}seen'))
            said = server.ctl_json('pieces', 'letters', 'guest@localhost')
            self.assertEqual(said[0]['letters'], 10)

    def test_module_of_other_headers_is_refused(self):
        folder, source = self.folder(), block(MODULES, 'mod_greet.c')
        path = self.greet(folder, '#include <grapnel/abi.h>\n#undef GR_ABI_TAG\n'
                                  f'#define GR_ABI_TAG "0123456789abcdef"\n{source}')
        server = self.serve(module_path=path)
        server.conf_d('greet.ini', block(MODULES, 'greet.ini'))
        p = server.ctl('reload')
        self.assertEqual(p.returncode, 1)
        self.assertIn('was built with the headers of another server: rebuild it', p.stderr)


if __name__ == '__main__':
    tap.main()
