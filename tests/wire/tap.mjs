// tests/wire/tap.mjs: the TAP of a wire test in JavaScript.
//
//   import { test, run } from './tap.mjs'
//   test('logs_in', async () => { ... throw to fail ... })
//   await run()

const cases = []

export function test (name, f) {
  cases.push({ name, f })
}

/** Runs the cases one after the other, prints TAP and ends the process. `limit`: ms for each. */
export async function run ({ limit = 60000 } = {}) {
  let failed = 0
  console.log(`1..${cases.length}`)
  for (const [i, { name, f }] of cases.entries()) {
    let timer
    console.log(`# ${name}`)
    try {
      await Promise.race([f(), new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no end after ${limit} ms`)), limit)
      })])
      console.log(`ok ${i + 1} - ${name}`)
    } catch (e) {
      failed++
      console.log(String(e && e.stack ? e.stack : e).replace(/^/gm, '#   '))
      console.log(`not ok ${i + 1} - ${name}`)
    } finally {
      clearTimeout(timer)
    }
  }
  process.exit(failed || !cases.length ? 1 : 0)
}
