// A visitor of chain/light/static/light.html with a clock of ours, once for each way to fill the form.
// node light_page.mjs CHROMIUM DIRECTORY CASES_JSON
// CASES_JSON: {page, now_ms, cases: [fields, ...]}.  Prints {seen, told: [{verdict, checks, text}, ...]}.
import { readFileSync } from 'node:fs'
import { visit } from './chromium.mjs'

const [executablePath, directory, path] = process.argv.slice(2)
const given = JSON.parse(readFileSync(path, 'utf-8'))
const { browser, page, seen, look, verdict } = await visit(executablePath, directory)
await page.addInitScript(() => {
  const now = new URLSearchParams(location.hash.slice(1)).get('now_ms')
  if (now) Date.now = () => Number(now)
})
const told = []
for (const fields of given.cases) {
  await page.goto('about:blank') // another fragment alone would load nothing
  await page.goto(`${given.page}#${new URLSearchParams({ now_ms: given.now_ms, ...fields })}`)
  await verdict()
  if (told.length === 0) await look('light')
  told.push({ verdict: seen.verdict, checks: seen.checks, text: await page.textContent('main') })
}
await browser.close()
console.log(JSON.stringify({ seen, told }))
