"""tests/wire/test_sdk.py: what an author of modules gets: the templates of `grapnelctl module new` build and
pass their tests at the first try, against an installed prefix and against the build folder; `module
check` says what is wrong with a file without running it; what `make install` puts where.
test-loops: 1
test-timeout: 600"""
import glob
import os
import re
import shutil
import subprocess
import unittest

import tap
from server import BUILD, GRAPNELCTL, SANITIZED, SRC, TIMEOUT, TMP, Server

KINDS = ('hook', 'iq', 'provider', 'command')
FLAGS = 'CFLAGS=-Wall -Wextra -Wshadow -Werror'
COMPILERS = ['gcc'] if SANITIZED else [c for c in ('gcc', 'clang') if shutil.which(c)]


def environment(**more):
    """Without what make hands down to a test that it runs."""
    env = {k: v for k, v in os.environ.items()
           if k not in ('MAKEFLAGS', 'MFLAGS', 'CFLAGS', 'CPPFLAGS', 'LDFLAGS', 'CC', 'SAN',
                        'PKG_CONFIG_PATH') and not k.startswith(('GRAPNEL_', 'H_'))}
    return {**env, **more}


def run(*argv, status=0, **options):
    options.setdefault('env', environment())
    p = subprocess.run(argv, capture_output=True, text=True, timeout=6 * TIMEOUT, check=False,
                       **options)
    assert p.returncode == status, f'{argv}: status {p.returncode}\n{p.stdout}{p.stderr}'
    return p.stdout + p.stderr


def write(path, text):
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


class Base(unittest.TestCase):
    count = 0

    @classmethod
    def setUpClass(cls):
        cls.prefix = f'{TMP}/sdk prefix'.replace(' ', '-')
        if not os.path.exists(cls.prefix):
            run('make', '-s', '-C', SRC, f'BUILD={BUILD}', f'PREFIX={cls.prefix}', 'DESTDIR=',
                f'SYSCONF={cls.prefix}/etc', 'install-files', env=os.environ)
        cls.ctl = f'{cls.prefix}/bin/grapnelctl'

    def folder(self):
        Base.count += 1
        path = f'{TMP}/sdk{Base.count}'
        os.makedirs(path)
        return path

    def new(self, name, kind, ctl=None):
        """The folder that `module new` writes."""
        where = self.folder()
        said = run(ctl or self.ctl, 'module', 'new', name, f'--{kind}', cwd=where)
        self.assertIn(f'mod_{name}/', said)
        self.assertIn('[mod_%s] with `password = ...`' % name if kind == 'provider' else
                      f'grapnelctl module load {name}\n', said)
        return f'{where}/mod_{name}'


class New(Base):
    def passes(self, folder, *args):
        said = run('make', '-s', '-C', folder, FLAGS, *args, 'check')
        self.assertNotIn('not ok', said)
        self.assertEqual({'1', '4'}, set(re.findall(r'^ok .*\(loops: (\d)\)$', said, re.M)))

    def test_every_template_builds_and_passes(self):
        for kind in KINDS:
            for compiler in COMPILERS:
                with self.subTest(kind=kind, compiler=compiler):
                    folder = self.new(f'{kind}_{compiler}', kind)
                    self.passes(folder, f'CC={compiler}')
                    said = run(self.ctl, 'module', 'check', *glob.glob(f'{folder}/*.so'))
                    self.assertRegex(said, r'\n  in order: ')

    def test_a_name_that_is_taken(self):
        for name, why in (('roster', 'comes with a module of that name'), ('sm', 'a part of the server'),
                          ('user', 'a command of grapnelctl')):
            self.assertIn(why, run(self.ctl, 'module', 'new', name, '--hook', status=1, cwd=self.folder()))

    def test_the_build_folder_serves_as_well(self):
        self.passes(self.new('mine', 'iq', GRAPNELCTL))
        flags = run('pkg-config', '--cflags', 'grapnel',
                    env=environment(PKG_CONFIG_PATH=f'{BUILD}/pkgconfig'))
        self.assertIn(f'-I{SRC}/include', flags)

    def test_pkg_config_path_wins(self):
        folder = self.new('mine', 'hook', GRAPNELCTL)
        said = run('make', '-n', '-C', folder, 'install',
                   env=environment(PKG_CONFIG_PATH=f'{self.prefix}/lib/pkgconfig'))
        self.assertIn(f'{self.prefix}/lib/grapnel/modules/mod_mine.so', said)

    def fresh(self, folder, target):
        """Whether make has nothing to do for it."""
        env = environment(PKG_CONFIG_PATH=f'{self.prefix}/lib/pkgconfig')
        return subprocess.run(['make', '-q', '-C', folder, target], env=env, capture_output=True,
                              timeout=TIMEOUT, check=False).returncode == 0

    def test_other_headers_mean_building_again(self):
        mine, examples = self.new('mine', 'hook'), f'{self.folder()}/examples'
        shutil.copytree(f'{SRC}/docs/examples', examples, ignore=shutil.ignore_patterns('*.so'))
        hello = f'{examples}/mod_hello'
        files = [(mine, 'mod_mine.so'), (mine, 'test_mine'), (hello, 'mod_hello.so'),
                 (examples, 'mod_dice/mod_dice.so')]
        header, library = (f'{self.prefix}/{p}' for p in ('include/grapnel/abi.h',
                                                          'lib/libgrapnel-test.a'))
        env = environment(PKG_CONFIG_PATH=f'{self.prefix}/lib/pkgconfig')
        for folder, file in files:
            run('make', '-s', '-C', folder, file, env=env)
        for folder in (mine, examples):
            for path in glob.glob(f'{folder}/**', recursive=True):
                os.utime(path, (1e9, 1e9))             # all of the same age
        for changed, stale in ((None, []), (header, files), (library, [(mine, 'test_mine')])):
            for path in (header, library):
                os.utime(path, None if path == changed else (1e9, 1e9))
            self.assertEqual([f for f in files if not self.fresh(*f)], stale, changed)

    def test_every_template_is_taken_by_a_server(self):
        modules = self.folder()
        server = Server(module_path=modules)
        for kind in KINDS:
            folder = self.new(f'x_{kind}', kind)
            run('make', '-s', '-C', folder, FLAGS)
            shutil.copy(f'{folder}/mod_x_{kind}.so', modules)
            page = read(f'{folder}/mod_x_{kind}.md')
            server.conf_d(f'{kind}.ini', re.search(r'```ini\n(.*?)```', page, re.S).group(1))
            self.assertNotIn('NAME', page)
        self.assertEqual(server.check(), (0, ''))
        server.start()
        self.addCleanup(server.stop)
        listed = {r['module'] for r in server.ctl_json('modules')}
        self.assertLessEqual({f'mod_x_{kind}' for kind in KINDS}, listed)
        self.assertEqual(server.ctl_json('x_command', 'total'), [{'sent': 0}])

    def test_a_broken_module_fails_its_test(self):
        folder = self.new('mine', 'hook')
        path = f'{folder}/mod_mine.c'
        write(path, read(path).replace('conf->text', '"Good bye!"'))
        said = run('make', '-s', '-C', folder, 'check', status=2,
                   env=environment(ASAN_OPTIONS='detect_leaks=0')) # what failed is not cleaned up
        self.assertIn('not ok 1 - greets_with_the_text (loops: 1)', said)
        self.assertIn('not ok 4 - greets_with_the_text (loops: 4)', said)
        self.assertIn('ok 3 - a_wrong_option_is_refused (loops: 1)', said)
        self.assertRegex(said, r'# alice@localhost/phone expected|# .*Good bye!')

    def test_a_test_without_h_main_ends_with_status_1(self):
        folder = self.new('mine', 'hook')
        path = f'{folder}/test_mine.c'
        text = read(path)
        write(path, text[:text.index('int main')].replace('"Welcome!");\n    h_ex', '"No.");\n    h_ex') +
              'int main(void)\n{\n    greets_with_the_text();\n    a_reload_keeps_the_count();\n'
              '    a_wrong_option_is_refused();\n    return 0;\n}\n')
        said = run('make', '-s', '-C', folder, 'check', status=2,
                   env=environment(ASAN_OPTIONS='detect_leaks=0'))
        self.assertIn('expected the body "No."', said)

    def test_names_clash_with_nothing(self):
        """The library shows gr_ and h_ names only: a test may call its functions as it likes."""
        symbols = run('nm', '-g', '--defined-only', f'{self.prefix}/lib/libgrapnel-test.a')
        names = re.findall(r'^[0-9a-f]+ [A-Z] (\S+)$', symbols, re.M)
        self.assertGreater(len(names), 200)
        self.assertEqual([n for n in names if not n.startswith(('gr_', 'h_'))], [])

    def test_refusals(self):
        where = self.folder()
        for name, says in (('mod_x', 'without mod_'), ('Upper', 'a-z, 0-9 and _'), ('1st', 'letter'),
                           ('a-b', 'a-z'), ('../x', 'a-z'), ('', 'a-z'), ('x' * 40, '39 bytes'),
                           ('sm', 'part of the server'), ('admin_data', 'part of the server'),
                           ('reload', 'command of grapnelctl'), ('metrics', 'command of grapnelctl'),
                           ('true', 'word of C')):
            with self.subTest(name):
                said = run(self.ctl, 'module', 'new', name, '--hook', cwd=where, status=1)
                self.assertIn(says, said)
        os.mkdir(f'{where}/mod_there')
        write(f'{where}/mod_there/mine', 'x')
        said = run(self.ctl, 'module', 'new', 'there', '--hook', cwd=where, status=1)
        self.assertIn('mod_there: is there already', said)
        self.assertEqual(os.listdir(f'{where}/mod_there'), ['mine'])
        for words in ([], ['x'], ['--hook'], ['x', '--hok'], ['x', '--hook', '--iq'],
                      ['x', 'y', '--hook']):
            with self.subTest(words):
                self.assertIn('usage:', run(self.ctl, 'module', 'new', *words, cwd=where, status=2))
        self.assertIn('usage:', run(self.ctl, 'module', 'new', '--help', cwd=where))
        self.assertEqual(os.listdir(where), ['mod_there'])
        longest = 'x' * 39
        folder = f'{where}/mod_{longest}'
        run(self.ctl, 'module', 'new', longest, '--hook', cwd=where)
        self.passes(folder)


# Pieces that break a promise, and what is said about them.
PROMISES = (
    ('static int counted; __attribute__((used)) static int f(void) { return ++counted; }',
     r'warning: has static data that changes \(counted; \d+ bytes in \.bss\)'),
    ('static char counted[100]; __attribute__((used)) static char *f(void) { return counted; }',
     r'warning: has static data that changes \(counted; \d+ bytes in \.bss\)'),
    ('static char text[] = "a text that somebody changes"; '
     '__attribute__((used)) static char *f(void) { return text; }',
     r'warning: has static data that changes \(text; \d+ bytes in \.data\)'),
    ('__attribute__((constructor)) static void begin(void) { gr_now_ms(); }',
     r'warning: has 1 constructors: .*use start'),
    ('__attribute__((destructor)) static void end(void) { gr_now_ms(); }',
     r'warning: has 1 destructors: use stop'),
    ('static _Thread_local int mine; __attribute__((used)) static int *f(void) { return &mine; }',
     r'warning: has thread-local data'),
    ('GR_API int mod_helper(void); GR_API int mod_helper(void) { return 1; }',
     r'warning: exports mod_helper: make it static'),
)
BREAKS = (
    ('void gr_no_such_function(void); __attribute__((used)) static void f(void) '
     '{ gr_no_such_function(); }',
     r'refused: needs gr_no_such_function, which this server does not have'),
    ('void nobody_has_it(void); __attribute__((used)) static void f(void) { nobody_has_it(); }',
     r'refused: needs nobody_has_it, which nobody offers'),
)
MODULE = '#include <grapnel/module.h>\n{}\nGR_MODULE({}, .summary = "test");\n'


class Check(Base):
    def build(self, piece='', name='x', flags=(), out=None, module=MODULE):
        folder = self.folder()
        env = environment(PKG_CONFIG_PATH=f'{self.prefix}/lib/pkgconfig')
        path = out or f'{folder}/mod_{name}.so'
        write(f'{folder}/x.c', module.format(piece, name))
        run('gcc', *run('pkg-config', '--cflags', 'grapnel', env=env).split(), *flags, '-o', path,
            f'{folder}/x.c', *run('pkg-config', '--libs', 'grapnel', env=env).split())
        os.chmod(path, 0o644)
        return path

    def check(self, path, status):
        said = run(self.ctl, 'module', 'check', path, status=status)
        self.assertTrue(said.startswith(f'{path}\n'), said)
        self.assertIn('the server does not load it' if status else 'the server loads it', said)
        return said

    def taken(self, path):
        """What the server itself says: (whether it takes the file, its words)."""
        name = re.search(r'mod_(\w+)\.so', path).group(1)
        status, said = Server(modules=[name], module_path=os.path.dirname(path)).check()
        return status == 0, said

    def test_promises(self):
        for piece, says in PROMISES:
            with self.subTest(piece):
                path = self.build(piece)
                self.assertRegex(self.check(path, 0), says)

    def test_stripped(self):
        path = self.build(PROMISES[1][0], flags=('-s',))
        self.assertRegex(self.check(path, 0), r'static data that changes \(\d+ bytes in \.bss\)')

    def test_what_the_server_refuses(self):
        for piece, says in BREAKS:
            with self.subTest(piece):
                path = self.build(piece)
                self.assertRegex(self.check(path, 1), says)
                self.assertFalse(self.taken(path)[0])

    def test_libc_and_libm_are_there(self):
        path = self.build('#include <stdio.h>\n#include <math.h>\n#include <pthread.h>\n'
                          '__attribute__((used)) static double f(double d) { puts(""); '
                          'return sin(d) + (double)pthread_self(); }', flags=('-Wl,--no-as-needed', '-lm'))
        self.assertIn('in order', run(self.ctl, 'module', 'check', path))
        self.assertTrue(self.taken(path)[0])

    def test_odd_files(self):
        good = self.build()
        self.assertIn('in order', run(self.ctl, 'module', 'check', good))
        with open(good, 'rb') as f:
            whole = f.read()
        folder = self.folder()
        for name, data, says in (('half', whole[:len(whole) // 2], 'damaged or incomplete'),
                                 ('text', b'#!/bin/sh\n', 'is not a shared object'),
                                 ('empty', b'', 'is empty or too large')):
            with open(f'{folder}/mod_{name}.so', 'wb') as f:
                f.write(data)
            self.assertIn(says, self.check(f'{folder}/mod_{name}.so', 1))
        self.assertIn('cannot be read: No such file', self.check(f'{folder}/mod_none.so', 1))
        shutil.copy(good, f'{folder}/mod_y.so')
        self.assertIn('says that it is mod_x: rename the file', self.check(f'{folder}/mod_y.so', 1))
        shutil.copy(good, f'{folder}/x.so')
        self.assertIn('is not called mod_NAME.so', self.check(f'{folder}/x.so', 1))
        os.chmod(good, 0o666)
        self.assertIn('can be written by everybody', self.check(good, 1))

    def test_other_headers(self):
        other = '#include <grapnel/abi.h>\n#undef GR_ABI_TAG\n#define GR_ABI_TAG "0123456789abcdef"\n'
        path = self.build(module=other + MODULE)
        self.assertIn('was built with the headers of another server', self.check(path, 1))

    def test_a_constructor_does_not_run(self):
        path = self.build('#include <stdlib.h>\n__attribute__((constructor)) static void begin(void) '
                          '{ abort(); }')
        self.check(path, 0)

    def test_several_files(self):
        good, bad = self.build(), self.build(BREAKS[0][0])
        said = run(self.ctl, 'module', 'check', good, bad, status=1)
        self.assertIn('in order', said)
        self.assertIn('does not load it', said)
        self.assertIn('usage:', run(self.ctl, 'module', 'check', status=2))
        self.assertIn('usage:', run(self.ctl, 'module', 'check', '--help'))

    def test_the_shipped_modules(self):
        said = run(self.ctl, 'module', 'check', *sorted(glob.glob(f'{BUILD}/modules/*.so')))
        if not SANITIZED:
            self.assertNotIn('warning', said)
        self.assertNotIn('refused', said)


class Installed(Base):
    def test_examples_and_unit(self):
        there = f'{self.prefix}/share/doc/grapnel/docs'
        self.assertEqual(sorted(os.listdir(f'{there}/examples/mod_hello')),
                         sorted(os.listdir(f'{SRC}/docs/examples/mod_hello')))
        unit = read(f'{self.prefix}/lib/systemd/system/grapnel.service')
        self.assertIn(f'\nExecStart={self.prefix}/bin/grapnel --config {self.prefix}/etc/grapnel/'
                      'grapnel.ini\n', unit)
        self.assertIn(f'\nExecReload={self.prefix}/bin/grapnelctl --config ', unit)
        self.assertIn('\nUser=grapnel\n', unit)

    def test_destdir(self):
        there = self.folder()
        run('make', '-s', '-C', SRC, f'BUILD={BUILD}', f'DESTDIR={there}', 'PREFIX=/opt/g',
            'install-files', env=os.environ)
        for path in ('include/grapnel/test.h', 'lib/libgrapnel-test.a', 'lib/pkgconfig/grapnel.pc',
                     'lib/pkgconfig/grapnel-test.pc', 'lib/systemd/system/grapnel.service'):
            self.assertTrue(os.path.exists(f'{there}/opt/g/{path}'), path)
        env = environment(PKG_CONFIG_PATH=f'{there}/opt/g/lib/pkgconfig',
                          PKG_CONFIG_SYSROOT_DIR=there)
        folder = self.folder()
        write(f'{folder}/t.c', '#include <grapnel/test.h>\n'
                               'int main(void) { struct h *h = h_start(NULL); h_stop(&h); return 0; }\n')
        flags = run('pkg-config', '--cflags', '--libs', 'grapnel-test', env=env).split()
        self.assertIn(f'-I{there}/opt/g/include', flags)
        run('gcc', '-o', f'{folder}/t', f'{folder}/t.c', *flags)
        run(f'{folder}/t')


if __name__ == '__main__':
    tap.main()
