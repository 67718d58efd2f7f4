import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { CloseIcon } from './icons.tsx';

interface Props {
  /** Id of the heading inside. */
  labelledBy: string;
  class?: string;
  testid?: string;
  onClose: () => void;
  children: ComponentChildren;
}

/** A modal dialog: the browser traps the focus, closes on Escape, and gives the focus back. */
export function Dialog({ labelledBy, class: className, testid, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const gone = useRef(false);
  useEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    element?.showModal();
    return () => {
      // Its `close` event comes later, when another dialog may be open.
      gone.current = true;
      element?.close();
      // Unmounted while open, the browser can't give it back by itself.
      const target = before instanceof HTMLElement && before.isConnected ? before : document.getElementById('main');
      target?.focus({ preventScroll: true });
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={className ? `dialog ${className}` : 'dialog'}
      aria-labelledby={labelledBy}
      data-testid={testid}
      onClose={() => gone.current || onClose()}
      // The dialog fills its box with its content, so a click on the element itself is one on the backdrop.
      onClick={(event) => event.target === event.currentTarget && onClose()}
    >
      <div class="dialog-body">
        <button type="button" class="icon-button dialog-close" aria-label="Close" onClick={onClose}>
          <CloseIcon />
        </button>
        {children}
      </div>
    </dialog>
  );
}
