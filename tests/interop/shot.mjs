// Pictures of pages: node shot.mjs CHROMIUM (URL FILE)...
// Of a page with a button that verifies, the whole page, after its checks passed.
import { open } from './chromium.mjs'

const [executablePath, ...wanted] = process.argv.slice(2)
const { browser, page } = await open(executablePath, { width: 1100, height: 800 })
for (let at = 0; at < wanted.length; at += 2) {
  await page.goto(wanted[at])
  await page.waitForFunction(() => document.getElementById('live').textContent === 'live')
  const button = await page.$('#verify')
  if (button) {
    await button.click()
    await page.waitForFunction(() => document.querySelectorAll('#checks li').length >= 3)
  }
  await page.screenshot({ path: wanted[at + 1], fullPage: button !== null })
}
await browser.close()
