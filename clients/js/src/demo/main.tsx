import { render } from 'preact';
import { startClock } from './clock.ts';
import { App } from './components/app.tsx';
import { startRouter } from './router.ts';
import { startTheme } from './theme.ts';

startTheme();
startClock();
startRouter();
const root = document.getElementById('app');
if (root) render(<App />, root);
