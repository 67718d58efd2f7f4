import type { ComponentChildren } from 'preact';

/** Line icons on a 20 × 20 grid. They always stand beside a text or a label, so they are hidden from screen readers. */
function Icon({ children, fill }: { children: ComponentChildren; fill?: boolean }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 20 20"
      width="20"
      height="20"
      fill={fill ? 'currentColor' : 'none'}
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

export const HeartIcon = ({ filled }: { filled: boolean }) => (
  <Icon fill={filled}>
    <path d="M10 16.6 3.9 10.7a3.9 3.9 0 0 1 0-5.6 3.9 3.9 0 0 1 5.5 0l.6.6.6-.6a3.9 3.9 0 0 1 5.5 0 3.9 3.9 0 0 1 0 5.6z" />
  </Icon>
);

export const TrashIcon = () => (
  <Icon>
    <path d="M3.5 5.5h13M8 5.5v-2h4v2M5.2 5.5l.7 11h8.2l.7-11M8.4 8.7v4.8M11.6 8.7v4.8" />
  </Icon>
);

export const CutIcon = () => (
  <Icon>
    <path d="M8.2 5.4 10 3.6a4.2 4.2 0 0 1 6 6l-1.8 1.8M11.8 14.6 10 16.4a4.2 4.2 0 0 1-6-6l1.8-1.8M3.5 3.5l13 13" />
  </Icon>
);

export const LinkIcon = () => (
  <Icon>
    <path d="M8.5 11.5a3.6 3.6 0 0 0 5.1 0l2.6-2.6a3.6 3.6 0 0 0-5.1-5.1L9.9 5M11.5 8.5a3.6 3.6 0 0 0-5.1 0l-2.6 2.6a3.6 3.6 0 0 0 5.1 5.1l1.2-1.2" />
  </Icon>
);

export const SearchIcon = () => (
  <Icon>
    <circle cx="8.8" cy="8.8" r="5.3" />
    <path d="m12.7 12.7 4 4" />
  </Icon>
);

export const CloseIcon = () => (
  <Icon>
    <path d="m5 5 10 10M15 5 5 15" />
  </Icon>
);

export const ArrowUpIcon = () => (
  <Icon>
    <path d="M10 16V4.5M5 9l5-5 5 5" />
  </Icon>
);

export const PauseIcon = () => (
  <Icon>
    <path d="M7 4.5v11M13 4.5v11" />
  </Icon>
);

export const PlayIcon = () => (
  <Icon>
    <path d="M6.5 4.2v11.6L15.5 10z" />
  </Icon>
);

export const PeopleIcon = () => (
  <Icon>
    <circle cx="7.5" cy="7" r="3" />
    <path d="M2 16.2c.5-3 2.7-4.7 5.5-4.7s5 1.7 5.5 4.7M13 4.3a3 3 0 0 1 0 5.4M14.8 12c1.7.7 2.8 2.1 3.2 4.2" />
  </Icon>
);

export const SunIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="3.4" />
    <path d="M10 2v1.6M10 16.4V18M2 10h1.6M16.4 10H18M4.3 4.3l1.2 1.2M14.5 14.5l1.2 1.2M4.3 15.7l1.2-1.2M14.5 5.5l1.2-1.2" />
  </Icon>
);

export const MoonIcon = () => (
  <Icon>
    <path d="M16.8 11.8A7 7 0 0 1 8.2 3.2a7 7 0 1 0 8.6 8.6z" />
  </Icon>
);

export const HalfIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="6.8" />
    <path d="M10 3.2a6.8 6.8 0 0 1 0 13.6z" fill="currentColor" />
  </Icon>
);

export const CheckIcon = () => (
  <Icon>
    <path d="m4 10.5 4 4 8-9" />
  </Icon>
);

export const AlertIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6.2v4.6M10 13.6v.1" />
  </Icon>
);

export const BellIcon = () => (
  <Icon>
    <path d="M10 3a4.6 4.6 0 0 0-4.6 4.6c0 4-1.6 5.2-1.6 6.2h12.4c0-1-1.6-2.2-1.6-6.2A4.6 4.6 0 0 0 10 3zM8.2 16.2a1.9 1.9 0 0 0 3.6 0" />
  </Icon>
);

export const GaugeIcon = () => (
  <Icon>
    <path d="M2.8 13.5h3l2-7.5 3.4 10 2.2-6 1 3.5h2.8" />
  </Icon>
);

export const ReplyIcon = () => (
  <Icon>
    <path d="M3.5 5.2a1.7 1.7 0 0 1 1.7-1.7h9.6a1.7 1.7 0 0 1 1.7 1.7v6.6a1.7 1.7 0 0 1-1.7 1.7H9l-3.6 3v-3h-.2a1.7 1.7 0 0 1-1.7-1.7z" />
  </Icon>
);

export const RepostIcon = () => (
  <Icon>
    <path d="M4 11V8.5A2.5 2.5 0 0 1 6.5 6H15M12.5 3.5 15 6l-2.5 2.5M16 9v2.5a2.5 2.5 0 0 1-2.5 2.5H5M7.5 16.5 5 14l2.5-2.5" />
  </Icon>
);

export const AtIcon = () => (
  <Icon>
    <circle cx="10" cy="10" r="2.8" />
    <path d="M12.8 7.2v3.6c0 2.8 4 2.4 4-1.2A6.8 6.8 0 1 0 14 15.3" />
  </Icon>
);

export const PersonIcon = () => (
  <Icon>
    <circle cx="10" cy="6.8" r="3.2" />
    <path d="M3.8 16.8c.6-3.4 3-5 6.2-5s5.6 1.6 6.2 5" />
  </Icon>
);

export const ArchiveIcon = () => (
  <Icon>
    <path d="M3.5 4h13v3h-13zM4.5 7v9h11V7M8 10.2h4" />
  </Icon>
);

/** The mark: a source, and the waves of what it says. */
export const Mark = () => (
  <svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false">
    <rect class="mark-ground" width="32" height="32" rx="9" />
    <g class="mark-lines" fill="none" stroke-width="2.6" stroke-linecap="round">
      <path d="M14 9.5a9.2 9.2 0 0 1 9.2 9.2" />
      <path d="M14 14.3a4.4 4.4 0 0 1 4.4 4.4" />
    </g>
    <circle class="mark-source" cx="11.8" cy="20.8" r="3" />
  </svg>
);
