// A visitor of a replica's pages: from the front page to a verified certificate, by clicks.
// Prints what was seen as JSON: verdicts, axe-core's violations and the page's own errors.
// node dashboard.mjs CHROMIUM URL DIRECTORY: screenshots go into the directory.
import { visit } from './chromium.mjs'

const [executablePath, url, directory] = process.argv.slice(2)
const { browser, page, seen, look, verdict } = await visit(executablePath, directory)

await page.goto(url)
await look('now')
await page.click('nav a[href="/cycles"]')
await look('cycles')
await page.click('tbody a[href^="/cycles/"]')
await page.click('#verify')
await verdict()
await look('cycle')
await page.click('a[href^="/miners/"]')
await look('miner')
for (const name of ['model', 'blocks']) {
  await page.click(`nav a[href="/${name}"]`)
  await look(name)
}
await page.fill('input[name=q]', 'nobody')
await page.press('input[name=q]', 'Enter')
await page.waitForURL('**/search?q=nobody')
seen.errors = seen.errors.filter((text) => !text.includes('404'))
await look('problem')
await browser.close()
console.log(JSON.stringify(seen))
