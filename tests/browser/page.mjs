// For a script that tries one thing, in one page of Chromium, $CHROMIUM or /usr/bin/chromium.
import { chromium } from 'playwright-core';

// Opens echo.html of the site at `base`, and says whether `body`, which is given the page, went well:
// with the text that it returns. If not, the exit code is 1.
export async function tryPage(base, what, body) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  });
  try {
    const page = await (await browser.newContext()).newPage();
    page.setDefaultTimeout(20_000);
    await page.goto(new URL('echo.html', base).href);
    console.log(`ok    ${await body(page)}`);
  } catch (error) {
    console.log(`FAIL  ${what}: ${error.message}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
