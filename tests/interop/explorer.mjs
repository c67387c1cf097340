// A visitor of a node's pages: from the front page to a verified certificate, a transaction and an
// address, by clicks.  Prints what was seen as JSON, as dashboard.mjs does.
// node explorer.mjs CHROMIUM URL DIRECTORY: screenshots go into the directory.
import { visit } from './chromium.mjs'

const [executablePath, url, directory] = process.argv.slice(2)
const { browser, page, seen, look, verdict } = await visit(executablePath, directory)

await page.goto(url)
await page.waitForFunction(() => document.getElementById('live').textContent === 'live')
await look('chain')
await page.click('tbody th a[href^="/blocks/"]')
await page.click('#verify')
await verdict()
await page.click('summary')
await look('block')
await page.click('tbody tr:nth-child(2) a[href^="/transactions/"]')
await look('transaction')
await page.click('td a[href^="/addresses/"]')
await look('address')
for (const name of ['blocks', 'mempool', 'peers']) {
  await page.click(`nav a[href="/${name}"]`)
  await look(name)
}
await page.click('nav a[href="/blocks"]')
await page.click('tbody a[href^="/miners/"]')
await look('miner')
await page.fill('input[name=q]', 'nobody')
await page.press('input[name=q]', 'Enter')
await page.waitForURL('**/search?q=nobody')
seen.errors = seen.errors.filter((text) => !text.includes('404'))
await look('problem')
await browser.close()
console.log(JSON.stringify(seen))
